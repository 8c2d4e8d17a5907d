/*
 * hpss_FileGetAttributes and hpss_FileGetXAttributes (facts 1.2, 4 and 8.6).
 */
#include "bitfile.h"
#include "cos.h"
#include "recall.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- handles -------------------------------------------------------------------- */

static void object_id(hpssoid_t *out, uint32_t index, uint64_t id, byte kind)
{
    memset(out, 0, sizeof *out);
#if HPSS_SIM_V < 705
    out->ObjectID.time_low = (uint32_t)id;
    out->ObjectID.time_mid = (uint16_t)(id >> 32);
    out->ObjectID.time_hi_and_version = 0x1000 | (uint16_t)(id >> 48 & 0xfff);
    out->ObjectID.clock_seq_hi_and_reserved = 0x80;
    memcpy(out->ObjectID.node, "\x02sim\x7f\x01", 6);
    out->ServerDep1 = index;
    out->ServerDep2 = 0x5150;
    out->SecurityLevel[1] = 3;
    out->Type = kind;
#else
    out->Bytes[0] = 0xb5;
    for (unsigned i = 0; i < 8; i++)
        out->Bytes[1 + i] = (byte)(id >> (8 * i));
    for (unsigned i = 0; i < 4; i++)
        out->Bytes[9 + i] = (byte)(index >> (8 * i));
    memcpy(out->Bytes + 13, "\xc3\x00sim", 5);
    out->Bytes[18] = kind;
#endif
}

void bitfile_of(uint32_t index, uint64_t id, sim_bitfile *bitfile)
{
    memset(bitfile, 0, sizeof *bitfile);
#if HPSS_SIM_V < 705
    object_id(bitfile, index, id, 0x42);
#else
    object_id(&bitfile->BfId, index, id, 0x42);
    bitfile->BfHash = id * 0x9e3779b97f4a7c15u;
    bitfile->ValidHash = 1;
#endif
}

/* A handle must come back whole, its hash too (guess): DSI copies all of it. */
uint32_t bitfile_find(sim_state *state, const sim_bitfile *bitfile)
{
    uint32_t index = 0;
    uint64_t id = 0;
    sim_bitfile expected;

#if HPSS_SIM_V < 705
    index = bitfile->ServerDep1;
    id = bitfile->ObjectID.time_low | (uint64_t)bitfile->ObjectID.time_mid << 32 |
         (uint64_t)(bitfile->ObjectID.time_hi_and_version & 0xfff) << 48;
    bitfile_of(index, id, &expected);
    bool whole = memcmp(bitfile, &expected, sizeof expected) == 0;
#else
    for (unsigned i = 0; i < 8; i++)
        id |= (uint64_t)bitfile->BfId.Bytes[1 + i] << (8 * i);
    for (unsigned i = 0; i < 4; i++)
        index |= (uint32_t)bitfile->BfId.Bytes[9 + i] << (8 * i);
    bitfile_of(index, id, &expected);
    bool whole = memcmp(&bitfile->BfId, &expected.BfId, sizeof expected.BfId) == 0 &&
                 bitfile->BfHash == expected.BfHash &&
                 bitfile->ValidHash == expected.ValidHash;
#endif
    if (!whole || index >= SIM_FILES)
        return SIM_NONE;
    const sim_file *file = sim_file_with_id(state, index, id);
    return file == NULL || file->kind != SIM_FILE ? SIM_NONE : index;
}

/* --- PVLists: given away, and freed by the caller -------------------------------- */

/*
 * Fact 1.2: malloc'ed by the library, freed by the caller, in one allocation. To see
 * from here, and from the process that reads the counters, whether it was: glibc maps
 * what is larger than 32 MiB by itself and unmaps it when it is freed, and a cookie in
 * it tells it from what is mapped there later. Only one page of it is ever touched.
 * Sanitizers, to which that is costly, tell of each free(): there the cookie is wiped.
 */
#define LARGE ((size_t)33 << 20)
/* A size that nobody else asks for. */
#define SMALL ((size_t)7919)
#define WIPED 1

typedef struct {
    pv_list_t list;
    pv_list_element_t element;
    uint64_t cookie;
} given_list;

extern int __sanitizer_install_malloc_and_free_hooks(
    void (*on_malloc)(const volatile void *, size_t), void (*on_free)(const volatile void *))
    __attribute__((weak));
extern size_t __sanitizer_get_allocated_size(const volatile void *address)
    __attribute__((weak));

static pthread_once_t hooks_once = PTHREAD_ONCE_INIT;
static bool hooked, huge_pages;
/* Of this process: no two of its lists have the same cookie. */
static atomic_ullong given_count;

static void on_malloc(const volatile void *address, size_t size)
{
    (void)address;
    (void)size;
}

static void on_free(const volatile void *address)
{
    if (address != NULL && __sanitizer_get_allocated_size(address) == SMALL) {
        given_list *given = (given_list *)(uintptr_t)address;
        if (given->list.List.List_val == &given->element)
            given->cookie = WIPED;
    }
}

static void install_hooks(void)
{
    char text[64] = "";
    int fd = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        huge_pages = read(fd, text, sizeof text - 1) > 0 && strstr(text, "[always]") != NULL;
        close(fd);
    }
    if (__sanitizer_install_malloc_and_free_hooks != NULL &&
        __sanitizer_get_allocated_size != NULL)
        hooked = __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) != 0;
}

static bool is_outstanding(const sim_pvlist *record)
{
    char name[32];
    uint64_t cookie = 0;

    snprintf(name, sizeof name, "/proc/%d/mem", record->pid);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES || errno == EPERM; /* alive, not ours to look at */
    ssize_t got = pread(fd, &cookie, sizeof cookie, (off_t)record->address);
    close(fd);
    return got == (ssize_t)sizeof cookie && cookie == record->cookie;
}

long xattr_pvlists(sim_state *state)
{
    sim_tape *tape = &state->world->tape;
    uint32_t kept = 0;

    if (tape->pvlists_used > 0)
        sim_touch(state, tape->pvlists, tape->pvlists_used * sizeof tape->pvlists[0]);
    SIM_TOUCH(state, tape->pvlists_used);
    SIM_TOUCH(state, tape->pvlists_kept);
    for (uint32_t i = 0; i < tape->pvlists_used; i++)
        if (is_outstanding(&tape->pvlists[i]))
            tape->pvlists[kept++] = tape->pvlists[i];
    tape->pvlists_used = tape->pvlists_kept = kept;
    return kept;
}

long xattr_pvlists_of(const sim_state *state, int pid)
{
    const sim_tape *tape = &state->world->tape;
    long count = 0;

    for (uint32_t i = 0; i < tape->pvlists_used; i++)
        count += tape->pvlists[i].pid == pid && is_outstanding(&tape->pvlists[i]);
    return count;
}

static pv_list_t *give_list(sim_state *state, const char *label)
{
    sim_tape *tape = &state->world->tape;

    pthread_once(&hooks_once, install_hooks);
    size_t size = hooked ? SMALL : LARGE;
    given_list *given = malloc(size);

    if (given == NULL)
        /* Memory is counted out strictly: small ones are seen as freed only later. */
        given = malloc(size = SMALL);
    if (given == NULL)
        return NULL;
    if (size == LARGE && huge_pages) {
        /* Else the first touch would cost 2 MiB. */
        uintptr_t page = ((uintptr_t)given + 4095) & ~(uintptr_t)4095;
        (void)madvise((void *)page, LARGE - 8192, MADV_NOHUGEPAGE);
    }
    memset(given, 0, sizeof *given);
    given->list.List.List_val = &given->element;
    given->list.List.List_len = 1;
    snprintf(given->element.Name, sizeof given->element.Name, "%.*s",
             (int)sizeof given->element.Name - 1, label);
    if (tape->pvlists_used >= 64 && tape->pvlists_used >= 2 * tape->pvlists_kept)
        xattr_pvlists(state);
    if (tape->pvlists_used < SIM_PVLISTS) {
        SIM_TOUCH(state, tape->pvlists_used);
        SIM_TOUCH(state, tape->pvlists[tape->pvlists_used]);
        given->cookie = (atomic_fetch_add(&given_count, 1) + 2) * 0x9e3779b97f4a7c15u;
        tape->pvlists[tape->pvlists_used++] = (sim_pvlist){
            .address = (uintptr_t)&given->cookie, .cookie = given->cookie, .pid = getpid()};
    }
    return &given->list;
}

/* --- attributes ------------------------------------------------------------------ */

static unsigned32 permissions(uint32_t bits)
{
    return ((bits & 4) != 0 ? NS_PERMS_RD : 0) | ((bits & 2) != 0 ? NS_PERMS_WR : 0) |
           ((bits & 1) != 0 ? NS_PERMS_XS : 0);
}

static void fill_attributes(sim_state *state, uint32_t index, uint32_t entry,
                            hpss_Attrs_t *attrs, ns_ObjHandle_t *handle)
{
    const sim_world *world = state->world;
    const sim_file *file = &world->files[index];
    unsigned32 type = NS_OBJECT_TYPE_FILE;

    if (file->kind == SIM_DIRECTORY)
        type = NS_OBJECT_TYPE_DIRECTORY;
    else if (file->kind == SIM_SYMLINK)
        type = NS_OBJECT_TYPE_SYM_LINK;
    else if (entry != SIM_NONE && world->entries[entry].hard_link)
        type = NS_OBJECT_TYPE_HARD_LINK;
    memset(attrs, 0, sizeof *attrs);
    memset(handle, 0, sizeof *handle);
    handle->ObjId = file->id;
    handle->FileId = file->id;
    handle->Type = (byte)type;
    attrs->Type = type;
    attrs->LinkCount = file->links;
    attrs->EntryCount = file->children;
    attrs->OpenCount = file->opens;
    attrs->UID = file->uid;
    attrs->GID = file->gid;
    attrs->Account = file->uid;
    attrs->ModePerms = permissions(file->mode >> 9 & 7);
    attrs->UserPerms = permissions(file->mode >> 6 & 7);
    attrs->GroupPerms = permissions(file->mode >> 3 & 7);
    attrs->OtherPerms = permissions(file->mode & 7);
    attrs->TimeCreated = file->created_s;
    attrs->TimeLastRead = file->atime_s;
    attrs->TimeLastWritten = file->mtime_s;
    attrs->TimeModified = file->ctime_s;
    attrs->DataLength = file->size;
    if (file->kind != SIM_FILE)
        return;
    attrs->COSId = file->cos;
    attrs->FamilyId = file->family;
    attrs->ReadCount = file->read_count;
    attrs->WriteCount = file->write_count;
    attrs->OptionFlags = file->purge_locked ? 1 : 0; /* fact 1.2: "bit 1" (guess: 1) */
#if HPSS_SIM_V < 705
    bitfile_of(index, file->id, &attrs->BitfileId);
#else
    bitfile_of(index, file->id, &attrs->BitfileObj);
#endif
}

/* A local computation (DSI); which time becomes which is a guess. */
void API_ConvertTimeToPosixTime(const hpss_Attrs_t *Attrs, timestamp_sec_t *Atime,
                                timestamp_sec_t *Mtime, timestamp_sec_t *Ctime)
{
    *Atime = Attrs->TimeLastRead != 0 ? Attrs->TimeLastRead : Attrs->TimeCreated;
    *Mtime = Attrs->TimeLastWritten; /* 0 too: hpss_Utime may have set it */
    *Ctime = Attrs->TimeModified;
}

static mode_t mode_bits(unsigned32 permissions_)
{
    return ((permissions_ & NS_PERMS_RD) != 0 ? 4U : 0) |
           ((permissions_ & NS_PERMS_WR) != 0 ? 2U : 0) |
           ((permissions_ & NS_PERMS_XS) != 0 ? 1U : 0);
}

/* HU, DSI: the kind of object is in it too. */
void API_ConvertModeToPosixMode(const hpss_Attrs_t *Attrs, mode_t *PosixMode)
{
    mode_t kind = Attrs->Type == NS_OBJECT_TYPE_DIRECTORY  ? S_IFDIR
                  : Attrs->Type == NS_OBJECT_TYPE_SYM_LINK ? S_IFLNK
                                                           : S_IFREG;

    *PosixMode = kind | mode_bits(Attrs->ModePerms) << 9 | mode_bits(Attrs->UserPerms) << 6 |
                 mode_bits(Attrs->GroupPerms) << 3 | mode_bits(Attrs->OtherPerms);
}

int hpss_FileGetAttributes(HPSS_SIM_CONST char *Path, hpss_fileattr_t *AttrOut)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_FileGetAttributes, Path);
    uint32_t index, entry;

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    if (AttrOut == NULL)
        return (int)sim_leave(&call, -EFAULT);
    sim_lock(call.state);
    /* That symbolic links are followed is a guess. */
    rc = sim_find(call.state, Path, SIM_FOLLOW, &index, &entry);
    if (rc == 0)
        fill_attributes(call.state, index, entry, &AttrOut->Attrs, &AttrOut->ObjectHandle);
    sim_unlock(call.state);
    return (int)sim_leave(&call, rc);
}

static bool is_zero(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;

    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/*
 * Fact 8.6: levels that are not used are not written to; what the caller left there
 * stays, so who did not clear the structure is given rubbish to find it out by.
 */
static void leave_level(bf_sc_attrib_t *out)
{
    if (!is_zero(out, sizeof *out))
        memset(out, 0xa5, sizeof *out);
}

/* Bytes at a level, and where: disk has a volume too, but no place on it (guess). */
static int fill_level(sim_state *state, uint32_t index, unsigned l, bf_sc_attrib_t *out)
{
    const sim_world *world = state->world;
    const sim_file *file = &world->files[index];
    const sim_level *level = &file->levels[l];
    uint32_t media = tape_media(world, file, l);

    leave_level(out);
    if (media == SIM_UNUSED)
        return 0;
    out->Flags = media == SIM_DISK ? BFS_BFATTRS_LEVEL_IS_DISK : BFS_BFATTRS_LEVEL_IS_TAPE;
    if (level->exists)
        out->Flags |= BFS_BFATTRS_DATAEXISTS_AT_LEVEL;
    out->BytesAtLevel = level->bytes;
    out->OptimumAccessSize = 1 << 20;
    out->StripeWidth = 1;
    out->StripeLength = 1 << 20;
    uint32_t count = media == SIM_TAPE ? level->vv_count : level->bytes > 0;
    out->NumberOfVVs = 0;
    for (uint32_t v = 0; v < count; v++) {
        bf_vv_attrib_t *vv = &out->VVAttrib[v];
        uint32_t cartridge = media == SIM_TAPE ? level->vv[v].cartridge : l;
        char label[16];
        if (media == SIM_TAPE)
            snprintf(label, sizeof label, "%s", world->tape.cartridges[cartridge].label);
        else
            snprintf(label, sizeof label, "DISK%02u", l);
        object_id(&vv->VVID, cartridge, cartridge + 1, 0x56);
        vv->RelPosition = media == SIM_TAPE ? level->vv[v].position : 0;
        vv->RelPositionOffset = media == SIM_TAPE ? level->vv[v].position_offset : 0;
        vv->BytesOnVV = media == SIM_TAPE ? level->vv[v].bytes : level->bytes;
        vv->PVList = give_list(state, label);
        if (vv->PVList == NULL)
            return -ENOMEM;
        out->NumberOfVVs++;
    }
    return 0;
}

static void free_levels(hpss_xfileattr_t *out, bool *filled)
{
    for (unsigned l = 0; l < HPSS_MAX_STORAGE_LEVELS; l++)
        for (uint32_t v = 0; filled[l] && v < out->SCAttrib[l].NumberOfVVs; v++)
            free(out->SCAttrib[l].VVAttrib[v].PVList);
}

static int fill_levels(sim_state *state, uint32_t index, unsigned32 flags, unsigned32 level,
                       hpss_xfileattr_t *out)
{
    bool filled[HPSS_MAX_STORAGE_LEVELS] = {false};
    const sim_file *file = sim_file_at(state, index);

    for (unsigned l = 0; l < HPSS_MAX_STORAGE_LEVELS; l++) {
        bool wanted = (flags & API_GET_STATS_FOR_ALL_LEVELS) != 0 ||
                      ((flags & API_GET_STATS_FOR_1STLEVEL) != 0 && l == 0) ||
                      ((flags & API_GET_STATS_FOR_LEVEL) != 0 && l == level);
        /* Directories have no levels: Flags stay 0 (TQ). */
        if (!wanted || file->kind != SIM_FILE ||
            tape_media(state->world, file, l) == SIM_UNUSED) {
            leave_level(&out->SCAttrib[l]);
            continue;
        }
        int rc = fill_level(state, index, l, &out->SCAttrib[l]);
        filled[l] = true;
        if (rc < 0) {
            free_levels(out, filled);
            return rc;
        }
    }
    return 0;
}

/*
 * One core call tells size, times, class and where every level's bytes are (fact 4.5).
 * Without NO_BLOCK it hangs while the file moves between levels (DSI stage.c); that a
 * stage which is only queued counts as moving is a guess. OPTIMIZE changes nothing.
 */
int hpss_FileGetXAttributes(HPSS_SIM_CONST char *Path, unsigned32 Flags,
                            unsigned32 StorageLevel, hpss_xfileattr_t *AttrOut)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_FileGetXAttributes, Path);

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    if (AttrOut == NULL)
        return (int)sim_leave(&call, -EFAULT);
    if ((Flags & API_GET_STATS_FOR_LEVEL) != 0 && StorageLevel >= HPSS_MAX_STORAGE_LEVELS)
        return (int)sim_leave(&call, -EINVAL);
    for (;;) {
        uint32_t index, entry;
        sim_world *world = sim_lock(call.state);
        tape_advance(call.state);
        rc = sim_find(call.state, Path, SIM_FOLLOW, &index, &entry);
        bool moving = rc == 0 && (Flags & API_GET_XATTRS_NO_BLOCK) == 0 &&
                      tape_request_of(world, index, NULL) != NULL;
        if (rc == 0 && !moving) {
            fill_attributes(call.state, index, entry, &AttrOut->Attrs,
                            &AttrOut->ObjectHandle);
            rc = fill_levels(call.state, index, Flags, StorageLevel, AttrOut);
        }
        sim_unlock(call.state);
        if (!moving)
            break;
        sim_pause();
    }
    return (int)sim_leave(&call, rc);
}
