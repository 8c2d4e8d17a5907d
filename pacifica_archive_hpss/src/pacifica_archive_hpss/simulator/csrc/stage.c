/*
 * Staging, one file at a time and in batches; migration and purge (facts 5, 8.5, 8.8).
 */
#include "bitfile.h"
#include "cos.h"
#include "recall.h"

#include "hpss_errno.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The file of the call's descriptor; NULL: not there. With the lock. */
static sim_file *file_of(const sim_call *call)
{
    return sim_file_with_id(call->state, call->descriptor->file, call->descriptor->file_id);
}

/* With the lock: 0 and the end of what is to be staged, or -errno. end 0: nothing. */
static int stage_end(sim_state *state, uint32_t index, u_signed64 offset, u_signed64 length,
                     unsigned32 level, unsigned32 flags, uint64_t *end)
{
    const sim_file *file = sim_file_at(state, index);

    *end = 0;
    if (file->kind == SIM_DIRECTORY)
        return -EISDIR;
    /* To a level that is no disk nothing can be staged (guess, and its code). */
    if (file->kind != SIM_FILE || tape_media(state->world, file, level) != SIM_DISK)
        return -EINVAL;
    if ((flags & BFS_STAGE_ALL) != 0) {
        offset = 0;
        length = file->size;
    }
    if (length > 0 && tape_needs_recall(state, index, offset, length))
        *end = length > file->size - offset ? file->size : offset + length;
    return 0;
}

/*
 * Fact 5: blocks until the recall is done; with BFS_ASYNCH_CALL it returns, and the
 * close blocks instead.
 */
int hpss_Stage(int Fildes, u_signed64 Offset, u_signed64 Length, unsigned32 StorageLevel,
               unsigned32 Flags)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_Stage, Fildes);
    recall_ticket ticket;
    uint64_t end = 0;
    bool asynchronous = (Flags & BFS_ASYNCH_CALL) != 0;

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    uint32_t index = call.descriptor->file;
    sim_lock(call.state);
    tape_advance(call.state);
    rc = file_of(&call) == NULL
             ? -ESTALE
             : stage_end(call.state, index, Offset, Length, StorageLevel, Flags, &end);
    if (rc == 0 && end > 0) {
        recall_order what = {.kind = SIM_REQUEST_STAGE, .file = index, .end = end,
                             .open = asynchronous ? call.descriptor->open + 1 : 0};
        rc = tape_submit(call.state, &what, &ticket);
        if (rc == 0)
            tape_dispatch(call.state);
    }
    sim_unlock(call.state);
    if (rc == 0 && end > 0 && !asynchronous) {
        rc = tape_wait(call.state, &ticket);
        sim_lock(call.state);
        if (rc == 0 && file_of(&call) != NULL &&
            tape_cannot_recall(call.state, index, 0, end))
            rc = -EIO;
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

static void id_bytes(const hpss_reqid_t *id, uint8_t bytes[static 16])
{
    memset(bytes, 0, 16);
    memcpy(bytes, id, sizeof *id);
}

static void random_id(uint32_t number, hpss_reqid_t *id)
{
    uint8_t bytes[16];

    sim_request_bytes(number, bytes);
    memcpy(id, bytes, sizeof *id);
}

/* A request as StageCallBack and batches make it. With the lock; then dispatch. */
static int submit_callback(sim_state *state, uint32_t index, uint64_t end, uint64_t batch,
                           const bfs_callback_addr_t *callback, const hpss_reqid_t *id)
{
    sim_world *world = state->world;
    uint8_t bytes[16];

    id_bytes(id, bytes);
    /* Fact 5: each one issued again took a thread of the core server. */
    if (tape_request_of(world, index, NULL) != NULL)
        atomic_fetch_add(&world->counters.duplicate_stages, 1);
    recall_order what = {.kind = SIM_REQUEST_STAGE, .file = index, .end = end,
                         .batch = batch, .request_id = bytes};
    if (callback != NULL && callback->sockaddr.sim_size > 0 &&
        callback->sockaddr.sim_size <= sizeof callback->sockaddr.sim_address) {
        what.callback = &callback->sockaddr.sim_address;
        what.callback_size = callback->sockaddr.sim_size;
    }
    return tape_submit(state, &what, NULL);
}

/* Fact 5: a NULL or zero address turns HPSS's monitors red. */
static void note_callback(sim_world *world, const bfs_callback_addr_t *callback)
{
    static const hpss_sockaddr_t none;

    if (callback == NULL || callback->sockaddr.sim_size == 0 ||
        memcmp(&callback->sockaddr.sim_address, &none.sim_address,
               sizeof none.sim_address) == 0)
        atomic_fetch_add(&world->counters.monitor_red, 1);
}

/* The caller's id, or one of the library's own where there is none (guess). */
static hpss_reqid_t request_id_of(const sim_call *call, const bfs_callback_addr_t *callback)
{
    static const hpss_reqid_t nil;
    hpss_reqid_t id = nil;

    if (callback != NULL)
        id = callback->id;
    if (callback == NULL)
        random_id(call->request, &id);
    return id;
}

/*
 * Fact 5 (DSI stage.c): by path, never blocks. That it answers 0 and asks for nothing
 * when the file is on disk, and -EIO at once when no level has it, are guesses.
 */
#if HPSS_SIM_V < 705
int hpss_StageCallBack(char *Path, u_signed64 Offset, u_signed64 Length,
                       unsigned32 StorageLevel, bfs_callback_addr_t *CallBackPtr,
                       unsigned32 Flags, hpss_reqid_t *ReqID, hpssoid_t *BitfileID)
#else
int hpss_StageCallBack(const char *Path, u_signed64 Offset, u_signed64 Length,
                       unsigned32 StorageLevel, bfs_callback_addr_t *CallBackPtr,
                       unsigned32 Flags, hpss_reqid_t *ReqID,
                       bfs_bitfile_obj_handle_t *BitfileID)
#endif
{
    sim_call call;
    int rc = sim_enter(&call, SIM_StageCallBack, Path);
    uint32_t index, entry;
    uint64_t end;

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    if (ReqID == NULL || BitfileID == NULL)
        return (int)sim_leave(&call, -EFAULT);
    sim_world *world = sim_lock(call.state);
    tape_advance(call.state);
    rc = sim_find(call.state, Path, SIM_FOLLOW, &index, &entry);
    if (rc == 0)
        rc = stage_end(call.state, index, Offset, Length, StorageLevel, Flags, &end);
    if (rc == 0) {
        hpss_reqid_t id = request_id_of(&call, CallBackPtr);
        note_callback(world, CallBackPtr);
        if (end > 0) {
            rc = submit_callback(call.state, index, end, 0, CallBackPtr, &id);
            if (rc == 0)
                tape_dispatch(call.state);
        }
        if (rc == 0) {
            *ReqID = id;
            bitfile_of(index, sim_file_at(call.state, index)->id, BitfileID);
        }
    }
    sim_unlock(call.state);
    return (int)sim_leave(&call, rc);
}

/* Fact 8.8: of (request id, bitfile); what is done is as unknown as what never was. */
static int stage_status(sim_call *call, int rc, const hpss_reqid_t *id,
                        const sim_bitfile *bitfile, int32_t *status)
{
    uint8_t bytes[16];

    if (rc < 0)
        return (int)sim_leave(call, rc);
    if (bitfile == NULL || status == NULL)
        return (int)sim_leave(call, -EFAULT);
    id_bytes(id, bytes);
    sim_world *world = sim_lock(call->state);
    tape_advance(call->state);
    uint32_t index = bitfile_find(call->state, bitfile);
    const sim_request *request =
        index == SIM_NONE ? NULL : tape_request_of(world, index, bytes);
    *status = request == NULL                            ? HPSS_STAGE_STATUS_UNKNOWN
              : request->state == SIM_REQUEST_ACTIVE ? HPSS_STAGE_STATUS_ACTIVE
                                                         : HPSS_STAGE_STATUS_QUEUED;
    sim_unlock(call->state);
    return (int)sim_leave(call, 0);
}

#if HPSS_SIM_V < 705
int hpss_GetAsynchStatus(signed32 CallBackId, hpssoid_t *BitfileID, signed32 *Status)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_GetAsynchStatus, NULL);
    hpss_reqid_t id = (hpss_reqid_t)CallBackId;

    return stage_status(&call, rc, &id, BitfileID, Status);
}
#else
int hpss_GetAsyncStatus(hpss_reqid_t CallBackId, bfs_bitfile_obj_handle_t *BitfileObj,
                        int32_t *Status)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_GetAsyncStatus, NULL);

    return stage_status(&call, rc, &CallBackId, BitfileObj, Status);
}
#endif

#if HPSS_SIM_V >= 903
/* Files in one batch: the constant in DSI's tests; what more is answered, a guess. */
#define BATCH 100

int API_StageBatchInit(hpss_stage_batch_t *Batch, int Len)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_StageBatchInit, NULL);

    if (rc == 0 && (Batch == NULL || Len <= 0))
        rc = -EINVAL;
    if (rc < 0)
        return (int)sim_leave(&call, rc);
    memset(Batch, 0, sizeof *Batch);
    Batch->List.List_val = calloc((size_t)Len, sizeof *Batch->List.List_val);
    if (Batch->List.List_val == NULL)
        return (int)sim_leave(&call, -ENOMEM);
    Batch->List.List_len = Batch->sim_size = (unsigned int)Len;
    return (int)sim_leave(&call, 0);
}

int API_StageBatchInsertBFObj(hpss_stage_batch_t *Batch, int Idx,
                              const bfs_bitfile_obj_handle_t *BfObj,
                              int FromStorageLevel, int ToStorageLevel,
                              u_signed64 Offset, u_signed64 Length, uint32_t Flags)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_StageBatchInsertBFObj, NULL);

    if (rc == 0 && (Batch == NULL || BfObj == NULL || Idx < 0 ||
                    (unsigned int)Idx >= Batch->sim_size))
        rc = -EINVAL;
    if (rc < 0)
        return (int)sim_leave(&call, rc);
    Batch->sim_inserted += Batch->List.List_val[Idx].sim_filled == 0;
    Batch->List.List_val[Idx] = (hpss_stage_batch_entry_t){
        .Length = Length, .Offset = Offset, .BFObj = *BfObj,
        .ToStorageLevel = ToStorageLevel, .FromStorageLevel = FromStorageLevel,
        .Flags = Flags, .sim_filled = 1};
    return (int)sim_leave(&call, 0);
}

void API_StageBatchFree(hpss_stage_batch_t *Batch)
{
    sim_call call;

    /* It cannot fail: a rule may only kill here. */
    sim_enter(&call, SIM_StageBatchFree, NULL);
    if (Batch != NULL) {
        free(Batch->List.List_val);
        memset(Batch, 0, sizeof *Batch);
    }
    sim_leave(&call, 0);
}

void API_StageStatusFree(hpss_stage_batch_status_t *Status)
{
    sim_call call;

    sim_enter(&call, SIM_StageStatusFree, NULL);
    if (Status != NULL) {
        free(Status->StatusList.StatusList_val);
        memset(Status, 0, sizeof *Status);
    }
    sim_leave(&call, 0);
}

static int status_list(hpss_stage_batch_status_t *status, unsigned int count)
{
    memset(status, 0, sizeof *status);
    status->StatusList.StatusList_val =
        calloc(count, sizeof *status->StatusList.StatusList_val);
    if (status->StatusList.StatusList_val == NULL)
        return -ENOMEM;
    status->StatusList.StatusList_len = count;
    return 0;
}

/*
 * Facts 5 and 8.8: -95 unless as many were inserted as the list is long; -1406 of each
 * file that was taken, which is normal. Guesses: 0 of a file that is on disk, HPSS's
 * number of an error of a single file, and that files of a batch, which share its id,
 * do not wait for each other.
 */
int hpss_StageBatchCallBack(hpss_stage_batch_t *Batch, bfs_callback_addr_t *CallBackPtr,
                            hpss_reqid_t *ReqID, hpss_stage_bitfile_list_t *BFIDs,
                            hpss_stage_batch_status_t *Status)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_StageBatchCallBack, NULL);
    hpss_reqid_t id;

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    if (Batch == NULL || ReqID == NULL || BFIDs == NULL || Status == NULL)
        return (int)sim_leave(&call, -EFAULT);
    unsigned int count = Batch->List.List_len;
    if (count != Batch->sim_inserted)
        return (int)sim_leave(&call, -EOPNOTSUPP);
    if (count == 0 || count > BATCH)
        return (int)sim_leave(&call, -EINVAL);
    memset(BFIDs, 0, sizeof *BFIDs);
    rc = status_list(Status, count);
    if (rc < 0)
        return (int)sim_leave(&call, rc);
    BFIDs->BFList.BFList_val = calloc(count, sizeof *BFIDs->BFList.BFList_val);
    if (BFIDs->BFList.BFList_val == NULL) {
        API_StageStatusFree(Status);
        return (int)sim_leave(&call, -ENOMEM);
    }
    BFIDs->BFList.BFList_len = count;
    id = request_id_of(&call, CallBackPtr);
    sim_world *world = sim_lock(call.state);
    tape_advance(call.state);
    note_callback(world, CallBackPtr);
    uint64_t batch = world->tape.next_order;
    for (unsigned int i = 0; i < count; i++) {
        const hpss_stage_batch_entry_t *entry = &Batch->List.List_val[i];
        uint32_t index = bitfile_find(call.state, &entry->BFObj);
        uint64_t end = 0;
        int code = index == SIM_NONE
                       ? -ENOENT
                       : stage_end(call.state, index, entry->Offset, entry->Length,
                                   (unsigned32)entry->ToStorageLevel, entry->Flags, &end);
        if (code == 0 && end > 0) {
            code = submit_callback(call.state, index, end, batch, CallBackPtr, &id);
            if (code == 0)
                code = HPSS_ENOTALLMOVED;
        }
        BFIDs->BFList.BFList_val[i] = entry->BFObj;
        hpss_stage_status_t *status = &Status->StatusList.StatusList_val[i];
        status->StageStatus =
            code < 0 && code != HPSS_ENOTALLMOVED ? sim_hpss_number(-code) : code;
        status->RequestId = id;
        status->Position = -1;
    }
    tape_dispatch(call.state);
    sim_unlock(call.state);
    sim_count_batch(call.state, count);
    *ReqID = id;
    return (int)sim_leave(&call, 0);
}

/*
 * Fact 5 and DSI's notes: 2, INT32_MIN and an id that is another one at each query
 * while it lasts; 0, -1 and a nil id where there is no such stage. Guesses: whether it
 * looks by bitfile only or by the id too, which DSI passes (knob batch_by_id), that it
 * sees what hpss_StageCallBack asked for, and the limit.
 */
int hpss_GetBatchAsynchStatus(hpss_reqid_t CallBackId, hpss_stage_bitfile_list_t *BFIDs,
                              hpss_stage_status_type_t Type,
                              hpss_stage_batch_status_t *Status)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_GetBatchAsynchStatus, NULL);
    uint8_t bytes[16];

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    if (BFIDs == NULL || Status == NULL)
        return (int)sim_leave(&call, -EFAULT);
    unsigned int count = BFIDs->BFList.BFList_len;
    if (Type != HPSS_STAGE_STATUS_BFS_SS || count == 0 || count > BATCH ||
        BFIDs->BFList.BFList_val == NULL)
        return (int)sim_leave(&call, -EINVAL);
    rc = status_list(Status, count);
    if (rc < 0)
        return (int)sim_leave(&call, rc);
    sim_world *world = sim_lock(call.state);
    tape_advance(call.state);
    id_bytes(&CallBackId, bytes);
    const uint8_t *id = sim_knob(world, SIM_KNOB_batch_by_id) != 0 ? bytes : NULL;
    for (unsigned int i = 0; i < count; i++) {
        uint32_t index = bitfile_find(call.state, &BFIDs->BFList.BFList_val[i]);
        bool live = index != SIM_NONE && tape_request_of(world, index, id) != NULL;
        hpss_stage_status_t *status = &Status->StatusList.StatusList_val[i];
        status->StageStatus = live ? 2 : 0;
        status->Position = live ? INT32_MIN : -1;
        if (live)
            random_id(call.request ^ (i << 24), &status->RequestId);
    }
    sim_unlock(call.state);
    return (int)sim_leave(&call, 0);
}
#endif

/* HU, IBMPY, TQ. BFS_PURGE_ALL or the whole length: a part of it is a guess as well. */
int hpss_Purge(int Fildes, u_signed64 Offset, u_signed64 Size, unsigned32 StorageLevel,
               unsigned32 Flags, u_signed64 *RetBytesPurged)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_Purge, Fildes);
    uint64_t bytes = 0;

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    sim_world *world = sim_lock(call.state);
    tape_advance(call.state);
    const sim_file *file = file_of(&call);
    if (file == NULL)
        rc = -ESTALE;
    else if ((call.descriptor->oflag & O_ACCMODE) == O_RDONLY)
        rc = -EBADF; /* TQ opens O_RDWR for it (guess: HPSS insists) */
    else if (file->kind != SIM_FILE || StorageLevel >= SIM_LEVELS ||
             tape_media(world, file, StorageLevel) != SIM_DISK)
        rc = -EINVAL;
    else if ((Flags & BFS_PURGE_ALL) == 0 && (Offset != 0 || Size < file->size))
        rc = -EINVAL;
    else
        rc = tape_purge(call.state, call.descriptor->file, (int)StorageLevel, &bytes);
    sim_unlock(call.state);
    if (RetBytesPurged != NULL)
        *RetBytesPurged = bytes;
    return (int)sim_leave(&call, rc);
}

/*
 * 1 src IBMPY: from a level; FORCE even with lower copies, PURGE_DATA purges after,
 * NO_COPY (guess) copies nothing. It takes no time here, which is not modelled.
 */
int hpss_Migrate(int Fildes, unsigned32 SrcLevel, unsigned32 Flags,
                 u_signed64 *RetBytesMigrated)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_Migrate, Fildes);
    uint64_t bytes = 0, purged;

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    sim_world *world = sim_lock(call.state);
    tape_advance(call.state);
    const sim_file *file = file_of(&call);
    uint32_t index = call.descriptor->file;
    if (file == NULL)
        rc = -ESTALE;
    else if (file->kind != SIM_FILE || SrcLevel >= SIM_LEVELS ||
             tape_media(world, file, SrcLevel) == SIM_UNUSED)
        rc = -EINVAL;
    else if ((Flags & HPSS_MIGRATE_NO_COPY) == 0)
        rc = tape_migrate(call.state, index, (Flags & HPSS_MIGRATE_FORCE) != 0, NULL, &bytes);
    if (rc == 0 && (Flags & HPSS_MIGRATE_PURGE_DATA) != 0)
        rc = tape_purge(call.state, index, (int)SrcLevel, &purged);
    sim_unlock(call.state);
    if (RetBytesMigrated != NULL)
        *RetBytesMigrated = bytes;
    return (int)sim_leave(&call, rc);
}

/* HU, IBMPY, SOH: EINVAL for an empty file and for a class without tape. */
int hpss_PurgeLock(int Fildes, purgelock_flag_t Flag)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_PurgeLock, Fildes);

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    sim_world *world = sim_lock(call.state);
    sim_file *file = file_of(&call);
    if (file == NULL)
        rc = -ESTALE;
    else if ((Flag != PURGE_LOCK && Flag != PURGE_UNLOCK) || file->kind != SIM_FILE ||
             file->size == 0 || !tape_has_tape(world, file))
        rc = -EINVAL;
    else {
        SIM_TOUCH(call.state, file->purge_locked);
        file->purge_locked = Flag == PURGE_LOCK;
    }
    sim_unlock(call.state);
    return (int)sim_leave(&call, rc);
}
