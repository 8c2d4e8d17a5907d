/*
 * Calls the Client API as it is told: a line of words with tabs between them comes in,
 * a line of JSON goes out. Compiled against each release's headers, whose structures
 * differ, so that a test in Python does not have to know them.
 *
 * "async WORDS..." runs a line in a thread of its own and answers its number; "join N"
 * waits for it and answers what it said; "fork WORDS..." runs a line in a child, which
 * then ends without any clean-up. Numbers may be written by name, joined by "|".
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "hpss_String.h"
#include "hpss_api.h"
#include "hpss_errno.h"
#include "hpss_mech.h"
#include "hpss_net.h"
#include "hpss_xml.h"

#define V (HPSS_MAJOR_VERSION * 100 + HPSS_MINOR_VERSION)
#define WORDS 512
#define THREADS 256
#define STREAMS 16

typedef struct {
    char *line;
    char *word[WORDS];
    int count;
    FILE *out;
    char *text;
    size_t size;
    pthread_t thread;
} job;

static job *threads[THREADS];
static int thread_count;
static HPSS_FILE *streams[STREAMS];
static hpss_xfileattr_t kept; /* of the last FileGetXAttributes with "keep" */

static const struct {
    const char *name;
    long value;
} names[] = {
#define N(name) {#name, (long)(name)}
    N(O_RDONLY),
    N(O_WRONLY),
    N(O_RDWR),
    N(O_CREAT),
    N(O_EXCL),
    N(O_TRUNC),
    N(O_APPEND),
    N(O_NONBLOCK),
    N(SEEK_SET),
    N(SEEK_CUR),
    N(SEEK_END),
    N(API_GET_STATS_FOR_ALL_LEVELS),
    N(API_GET_STATS_FOR_1STLEVEL),
    N(API_GET_STATS_FOR_LEVEL),
    N(API_GET_XATTRS_NO_BLOCK),
    N(BFS_STAGE_ALL),
    N(BFS_ASYNCH_CALL),
    N(BFS_PURGE_ALL),
    N(PURGE_LOCK),
    N(PURGE_UNLOCK),
    N(HPSS_MIGRATE_FORCE),
    N(HPSS_MIGRATE_PURGE_DATA),
    N(HPSS_SET_OFFSET_FORWARD),
    N(HPSS_SET_OFFSET_BACKWARD),
    N(NO_PRIORITY),
    N(DESIRED_PRIORITY),
    N(HIGHLY_DESIRED_PRIORITY),
    N(REQUIRED_PRIORITY),
    N(hpss_authn_mech_unix),
    N(hpss_authn_mech_krb5),
    N(hpss_rpc_auth_type_keytab),
    N(hpss_rpc_auth_type_passwd),
    N(R_OK),
    N(W_OK),
    N(X_OK),
    N(F_OK),
#undef N
};

static long number(const char *text)
{
    long value = 0;
    char copy[1024], *rest = NULL;
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *part = strtok_r(copy, "|", &rest); part;
         part = strtok_r(NULL, "|", &rest)) {
        char *end;
        long each = strtol(part, &end, 0);
        if (*end) {
            size_t i = 0;
            while (i < sizeof(names) / sizeof(*names) && strcmp(names[i].name, part))
                i++;
            if (i == sizeof(names) / sizeof(*names)) {
                fprintf(stderr, "driver: no number: %s\n", part);
                exit(3);
            }
            each = names[i].value;
        }
        value |= each;
    }
    return value;
}

static char *word(job *j, int i)
{
    if (i >= j->count) {
        fprintf(stderr, "driver: too few words: %s\n", j->word[0]);
        exit(3);
    }
    return j->word[i];
}

static char *path(job *j, int i)
{
    char *text = word(j, i);
    if (strcmp(text, "EMPTY") == 0)
        return text + strlen(text);
    return strcmp(text, "NULL") ? text : NULL;
}

static long num(job *j, int i)
{
    return number(word(j, i));
}

static void put_hex(FILE *out, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        fprintf(out, "%02x", ((const unsigned char *)bytes)[i]);
}

static size_t get_hex(const char *text, void *bytes, size_t size)
{
    size_t n = 0;
    unsigned int value;
    while (n < size && sscanf(text + 2 * n, "%2x", &value) == 1)
        ((unsigned char *)bytes)[n++] = (unsigned char)value;
    return n;
}

/* {"rc": ..., "errno": ..., and whatever the caller adds before the brace. */
#define CALL(expression)                                                               \
    do {                                                                               \
        errno = 0;                                                                     \
        long rc_ = (long)(expression);                                                 \
        int errno_ = errno;                                                            \
        fprintf(j->out, "{\"rc\": %ld, \"errno\": %d", rc_, errno_);                   \
        rc = rc_;                                                                      \
    } while (0)
#define IS(name) (strcmp(j->word[0], name) == 0)

static void put_reqid(FILE *out, const hpss_reqid_t *id)
{
    fprintf(out, ", \"request\": \"");
    put_hex(out, id, sizeof(*id));
    fprintf(out, "\"");
}

static const char *type_name(unsigned32 type)
{
    switch (type) {
    case NS_OBJECT_TYPE_FILE: return "FILE";
    case NS_OBJECT_TYPE_HARD_LINK: return "HARD_LINK";
    case NS_OBJECT_TYPE_DIRECTORY: return "DIRECTORY";
    case NS_OBJECT_TYPE_SYM_LINK: return "SYM_LINK";
    case NS_OBJECT_TYPE_JUNCTION: return "JUNCTION";
    default: return "?";
    }
}

static void put_attrs(FILE *out, const hpss_Attrs_t *attrs)
{
    timestamp_sec_t a = 0, m = 0, c = 0;
    API_ConvertTimeToPosixTime(attrs, &a, &m, &c);
    fprintf(out, ", \"size\": %lu, \"cos\": %u, \"type\": \"%s\"", attrs->DataLength,
            attrs->COSId, type_name(attrs->Type));
    fprintf(out, ", \"atime\": %u, \"mtime\": %u, \"ctime\": %u", a, m, c);
    fprintf(out, ", \"locked\": %s, \"bitfile\": \"",
            attrs->OptionFlags & 1 ? "true" : "false");
#if V < 705
    put_hex(out, &attrs->BitfileId, sizeof(attrs->BitfileId));
#else
    put_hex(out, &attrs->BitfileObj, sizeof(attrs->BitfileObj));
#endif
    fprintf(out, "\"");
}

static void put_levels(FILE *out, hpss_xfileattr_t *attrs, int give_back)
{
    fprintf(out, ", \"levels\": [");
    for (int i = 0; i < HPSS_MAX_STORAGE_LEVELS; i++) {
        bf_sc_attrib_t *level = &attrs->SCAttrib[i];
        fprintf(out, "%s{\"raw\": %u, \"disk\": %d, \"tape\": %d, \"data\": %d",
                i ? ", " : "", level->Flags,
                !!(level->Flags & BFS_BFATTRS_LEVEL_IS_DISK),
                !!(level->Flags & BFS_BFATTRS_LEVEL_IS_TAPE),
                !!(level->Flags & BFS_BFATTRS_DATAEXISTS_AT_LEVEL));
        fprintf(out, ", \"bytes\": %lu, \"vvs\": [", level->BytesAtLevel);
        unsigned32 vvs = level->NumberOfVVs;
        for (unsigned32 k = 0; k < vvs && k < BFS_MAX_VV_TO_RETURN_AT_LEVEL; k++) {
            bf_vv_attrib_t *vv = &level->VVAttrib[k];
            pv_list_t *list = vv->PVList;
            fprintf(out,
                    "%s{\"position\": %d, \"offset\": %lu, \"bytes\": %lu, \"label\": "
                    "\"%s\"}",
                    k ? ", " : "", vv->RelPosition, vv->RelPositionOffset,
                    vv->BytesOnVV,
                    list && list->List.List_len ? list->List.List_val[0].Name : "");
            if (list && give_back)
                free(list);
        }
        fprintf(out, "]}");
    }
    fprintf(out, "]");
}

static void put_stat(FILE *out, const hpss_stat_t *s)
{
    fprintf(
        out,
        ", \"size\": %lu, \"mode\": %u, \"links\": %u, \"mtime\": %u, \"ctime\": %u",
        s->st_size, s->st_mode, s->st_nlink, s->hpss_st_mtime, s->hpss_st_ctime);
}

static int callback(const char *text, bfs_callback_addr_t *address)
{
    char error[HPSS_NET_MAXBUF], port[16];
    memset(address, 0, sizeof(*address));
    if (strcmp(text, "-") == 0)
        return 0;
    snprintf(port, sizeof(port), "%s", text);
    return hpss_net_getaddrinfo("127.0.0.1", port, 0, HPSS_IPPROTO_TCP,
                                &address->sockaddr, error, sizeof(error));
}

static const char *stage_status(signed32 status)
{
    switch (status) {
    case HPSS_STAGE_STATUS_UNKNOWN: return "UNKNOWN";
    case HPSS_STAGE_STATUS_ACTIVE: return "ACTIVE";
    case HPSS_STAGE_STATUS_QUEUED: return "QUEUED";
    default: return "?";
    }
}

static void uda(job *j, int values)
{
    hpss_userattr_t pairs[WORDS];
    hpss_userattr_list_t list;
    long rc;
    memset(&list, 0, sizeof(list));
    memset(pairs, 0, sizeof(pairs));
    for (int i = 2; i < j->count; i += values ? 2 : 1) {
        pairs[list.len].Key = word(j, i);
        if (values)
            pairs[list.len].Value = word(j, i + 1);
        else
            pairs[list.len].Value = calloc(1, HPSS_XML_SIZE);
        list.len++;
    }
    list.Pair = pairs;
    if (IS("UserAttrSetAttrs"))
        CALL(hpss_UserAttrSetAttrs(path(j, 1), &list, NULL));
    else if (IS("UserAttrDeleteAttrs"))
        CALL(hpss_UserAttrDeleteAttrs(path(j, 1), &list, NULL));
    else {
#if V < 705
        CALL(hpss_UserAttrGetAttrs(path(j, 1), &list, UDA_API_VALUE));
#else
        CALL(
            hpss_UserAttrGetAttrs(path(j, 1), &list, UDA_API_VALUE, HPSS_XML_SIZE - 1));
#endif
        fprintf(j->out, ", \"xml\": [");
        for (int i = 0; rc >= 0 && i < list.len; i++)
            fprintf(j->out, "%s%d", i ? ", " : "",
                    !strncmp(list.Pair[i].Value, "<", 1));
        fprintf(j->out, "], \"values\": [");
        for (int i = 0; rc >= 0 && i < list.len; i++) {
            char *value = hpss_ChompXMLHeader(list.Pair[i].Value, NULL);
            fprintf(j->out, "%s\"%s\"", i ? ", " : "", value ? value : "");
            free(value);
        }
        fprintf(j->out, "]");
    }
    if (!values)
        for (int i = 0; i < list.len; i++)
            free(pairs[i].Value);
    fprintf(j->out, "}");
}

#if V >= 903
/* StageBatch REQUEST CALLBACK LENGTH PATH...; BatchState REQUEST PATH... */
static void batch(job *j)
{
    static const int first = 4;
    int submit = IS("StageBatch");
    int start = submit ? first : 2;
    int n = j->count - start;
    hpss_stage_batch_t list;
    hpss_stage_bitfile_list_t bitfiles;
    hpss_stage_batch_status_t status;
    hpss_reqid_t request;
    bfs_callback_addr_t address;
    long rc;
    memset(&bitfiles, 0, sizeof(bitfiles));
    memset(&status, 0, sizeof(status));
    memset(&request, 0, sizeof(request));
    get_hex(word(j, 1), &request, sizeof(request));
    bfs_bitfile_obj_handle_t *objects = calloc((size_t)n, sizeof(*objects));
    for (int i = 0; i < n; i++) {
        hpss_fileattr_t attributes;
        memset(&attributes, 0, sizeof(attributes));
        if (hpss_FileGetAttributes(word(j, start + i), &attributes) < 0)
            continue; /* stays zero: no such bitfile */
        objects[i] = attributes.Attrs.BitfileObj;
    }
    if (submit) {
        long length = num(j, 3);
        int prepared = API_StageBatchInit(&list, n);
        for (int i = 0; prepared >= 0 && i < n; i++)
            prepared = API_StageBatchInsertBFObj(&list, i, &objects[i], 0, 0, 0, 0,
                                                 BFS_STAGE_ALL);
        free(objects);
        if (length >= 0)
            list.List.List_len = (unsigned int)length;
        callback(word(j, 2), &address);
        address.id = request;
        CALL(hpss_StageBatchCallBack(&list, &address, &request, &bitfiles, &status));
        if (length >= 0)
            list.List.List_len = (unsigned int)n;
        API_StageBatchFree(&list);
        free(bitfiles.BFList.BFList_val);
        put_reqid(j->out, &request);
    } else {
        bitfiles.BFList.BFList_len = (unsigned int)n;
        bitfiles.BFList.BFList_val = objects;
        CALL(hpss_GetBatchAsynchStatus(request, &bitfiles, HPSS_STAGE_STATUS_BFS_SS,
                                       &status));
        free(objects);
    }
    fprintf(j->out, ", \"statuses\": [");
    for (unsigned int i = 0; rc >= 0 && i < status.StatusList.StatusList_len; i++)
        fprintf(j->out, "%s[%d, %d]", i ? ", " : "",
                status.StatusList.StatusList_val[i].StageStatus,
                status.StatusList.StatusList_val[i].Position);
    fprintf(j->out, "]}");
    if (rc >= 0)
        API_StageStatusFree(&status);
}
#endif

static void open_file(job *j)
{
    hpss_cos_hints_t in, chosen;
    hpss_cos_priorities_t priorities;
    long rc;
    memset(&in, 0, sizeof(in));
    memset(&chosen, 0, sizeof(chosen));
    memset(&priorities, 0, sizeof(priorities));
    /* then KEY=NUMBER[:PRIORITY] of min, max, cos */
    for (int i = 4; i < j->count; i++) {
        char *value = strchr(word(j, i), '=') + 1;
        char *priority = strchr(value, ':');
        unsigned32 how = REQUIRED_PRIORITY;
        if (priority) {
            *priority = 0;
            how = (unsigned32)number(priority + 1);
        }
        switch (j->word[i][1]) {
        case 'i':
            in.MinFileSize = (u_signed64)number(value);
            priorities.MinFileSizePriority = how;
            break;
        case 'a':
            in.MaxFileSize = (u_signed64)number(value);
            priorities.MaxFileSizePriority = how;
            break;
        default: in.COSId = (unsigned32)number(value); priorities.COSIdPriority = how;
        }
    }
    if (j->count > 4)
        CALL(hpss_Open(path(j, 1), (int)num(j, 2), (mode_t)num(j, 3), &in, &priorities,
                       &chosen));
    else
        CALL(hpss_Open(path(j, 1), (int)num(j, 2), (mode_t)num(j, 3), NULL, NULL,
                       &chosen));
    fprintf(j->out, ", \"cos\": %u}", rc >= 0 ? chosen.COSId : 0);
}

static void run(job *j);

static void run_forked(job *j)
{
    int ends[2];
    if (pipe(ends) < 0)
        exit(3);
    pid_t child = fork();
    if (child == 0) {
        /* What the parent had is the parent's: only its own answer goes out. */
        job own = *j;
        own.count--;
        memmove(own.word, own.word + 1, sizeof(own.word) - sizeof(*own.word));
        own.out = open_memstream(&own.text, &own.size);
        run(&own);
        fclose(own.out);
        if (write(ends[1], own.text, own.size) < 0)
            _exit(4);
        _exit(0);
    }
    close(ends[1]);
    char text[65536];
    size_t used = 0;
    ssize_t n;
    while ((n = read(ends[0], text + used, sizeof(text) - 1 - used)) > 0)
        used += (size_t)n;
    text[used] = 0;
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    fprintf(j->out, "{\"rc\": %d, \"errno\": 0, \"child\": %s}", status,
            used ? text : "null");
}

static void *run_thread(void *data)
{
    job *j = data;
    run(j);
    fclose(j->out);
    return NULL;
}

static void run(job *j)
{
    long rc = 0;
    FILE *out = j->out;
    if (IS("SetLoginCred")) { /* USER KEYTAB [MECHANISM [TYPE]] */
        CALL(hpss_SetLoginCred(
            word(j, 1),
            (hpss_authn_mech_t)(j->count > 3 ? num(j, 3) : hpss_authn_mech_unix),
            hpss_rpc_cred_client,
            (hpss_rpc_auth_type_t)(j->count > 4 ? num(j, 4)
                                                : hpss_rpc_auth_type_keytab),
            word(j, 2)));
        fprintf(out, "}");
    } else if (IS("PurgeLoginCred")) {
        hpss_PurgeLoginCred();
        fprintf(out, "{\"rc\": 0, \"errno\": 0}");
    } else if (IS("ClientAPIReset")) {
        hpss_ClientAPIReset();
        fprintf(out, "{\"rc\": 0, \"errno\": 0}");
    } else if (IS("ClearLastHPSSErrno")) {
        hpss_ClearLastHPSSErrno();
        fprintf(out, "{\"rc\": 0, \"errno\": 0}");
    } else if (IS("GetLastHPSSErrno")) {
        hpss_errno_state_t state = hpss_GetLastHPSSErrno();
        fprintf(out, "{\"rc\": 0, \"errno\": 0, \"code\": %d, \"function\": \"%s\"",
                state.hpss_errno, state.func);
        put_reqid(out, &state.requestId);
        fprintf(out, ", \"name\": \"%s\"}", hpss_ErrnoName(state.hpss_errno));
    } else if (IS("ErrnoName")) {
        fprintf(out, "{\"rc\": 0, \"errno\": 0, \"name\": \"%s\"}",
                hpss_ErrnoName((int)num(j, 1)));
    } else if (IS("BuildLevelString")) {
        char *text = hpss_BuildLevelString();
        fprintf(out, "{\"rc\": 0, \"errno\": 0, \"text\": \"%s\"}", text);
        free(text);
    } else if (IS("PingCore")) {
#if V < 705
        hpss_uuid_t id;
#else
        hpss_srvr_id_t id;
#endif
        unsigned32 s = 0, us = 0;
        char *site = word(j, 1);
        memset(&id, 0, sizeof(id));
        long found = hpss_LookupRootCS(site, &id);
        CALL(hpss_PingCore(&id, &s, &us));
        fprintf(out, ", \"found\": %ld, \"s\": %u, \"us\": %u}", found, s, us);
    } else if (IS("Open")) {
        open_file(j);
    } else if (IS("Close")) {
        CALL(hpss_Close((int)num(j, 1)));
        fprintf(out, "}");
    } else if (IS("Read")) {
        size_t size = (size_t)num(j, 2);
        char *buffer = malloc(size + 1);
        CALL(hpss_Read((int)num(j, 1), buffer, size));
        fprintf(out, ", \"data\": \"");
        put_hex(out, buffer, rc > 0 ? (size_t)rc : 0);
        fprintf(out, "\"}");
        free(buffer);
    } else if (IS("Write")) {
        size_t size = strlen(word(j, 2)) / 2;
        char *buffer = malloc(size + 1);
        get_hex(word(j, 2), buffer, size);
        CALL(hpss_Write((int)num(j, 1), buffer, size));
        fprintf(out, "}");
        free(buffer);
    } else if (IS("Lseek")) {
        CALL(hpss_Lseek((int)num(j, 1), num(j, 2), (int)num(j, 3)));
        fprintf(out, "}");
    } else if (IS("SetFileOffset")) {
        u_signed64 offset = 0;
        CALL(hpss_SetFileOffset((int)num(j, 1), (u_signed64)num(j, 2), (int)num(j, 3),
                                HPSS_SET_OFFSET_FORWARD, &offset));
        fprintf(out, ", \"offset\": %lu}", offset);
    } else if (IS("Fopen")) {
        int slot = 0;
        while (slot < STREAMS - 1 && streams[slot])
            slot++;
        CALL(0);
        errno = 0;
        streams[slot] = hpss_Fopen(path(j, 1), word(j, 2));
        fprintf(out, ", \"stdio_errno\": %d, \"stream\": %d}", errno,
                streams[slot] ? slot : -1);
    } else if (IS("Fread")) {
        size_t size = (size_t)num(j, 2);
        char *buffer = malloc(size + 1);
        CALL(hpss_Fread(buffer, 1, size, streams[num(j, 1)]));
        fprintf(out, ", \"data\": \"");
        put_hex(out, buffer, (size_t)rc);
        fprintf(out, "\"}");
        free(buffer);
    } else if (IS("Fwrite")) {
        size_t size = strlen(word(j, 2)) / 2;
        char *buffer = malloc(size + 1);
        get_hex(word(j, 2), buffer, size);
        CALL(hpss_Fwrite(buffer, 1, size, streams[num(j, 1)]));
        fprintf(out, "}");
        free(buffer);
    } else if (IS("Fseek")) {
        CALL(hpss_Fseek(streams[num(j, 1)], num(j, 2), (int)num(j, 3)));
        fprintf(out, "}");
    } else if (IS("Ftell")) {
        CALL(hpss_Ftell(streams[num(j, 1)]));
        fprintf(out, "}");
    } else if (IS("Fflush")) {
        CALL(hpss_Fflush(streams[num(j, 1)]));
        fprintf(out, "}");
    } else if (IS("Fclose")) {
        CALL(hpss_Fclose(streams[num(j, 1)]));
        streams[num(j, 1)] = NULL;
        fprintf(out, "}");
    } else if (IS("Stat") || IS("Lstat") || IS("Fstat")) {
        hpss_stat_t s;
        memset(&s, 0, sizeof(s));
        if (IS("Fstat"))
            CALL(hpss_Fstat((int)num(j, 1), &s));
        else if (IS("Stat"))
            CALL(hpss_Stat(path(j, 1), &s));
        else
            CALL(hpss_Lstat(path(j, 1), &s));
        put_stat(out, &s);
        fprintf(out, "}");
    } else if (IS("FileGetAttributes")) {
        hpss_fileattr_t attributes;
        memset(&attributes, 0, sizeof(attributes));
        CALL(hpss_FileGetAttributes(path(j, 1), &attributes));
        if (rc >= 0)
            put_attrs(out, &attributes.Attrs);
        fprintf(out, "}");
    } else if (IS("FileGetXAttributes")) { /* PATH FLAGS LEVEL [FILL [keep]] */
        hpss_xfileattr_t attributes;
        memset(&attributes, j->count > 4 ? (int)num(j, 4) : 0, sizeof(attributes));
        CALL(hpss_FileGetXAttributes(path(j, 1), (unsigned32)num(j, 2),
                                     (unsigned32)num(j, 3), &attributes));
        if (rc >= 0) {
            put_attrs(out, &attributes.Attrs);
            if (j->count <= 4 || num(j, 4) == 0)
                put_levels(out, &attributes, j->count <= 5);
            else
                fprintf(out, ", \"flags\": [%u, %u, %u, %u, %u]",
                        attributes.SCAttrib[0].Flags, attributes.SCAttrib[1].Flags,
                        attributes.SCAttrib[2].Flags, attributes.SCAttrib[3].Flags,
                        attributes.SCAttrib[4].Flags);
            if (j->count > 5)
                kept = attributes;
        }
        fprintf(out, "}");
    } else if (IS("Stage")) { /* FD LENGTH FLAGS */
        CALL(hpss_Stage((int)num(j, 1), 0, (u_signed64)num(j, 2), 0,
                        (unsigned32)num(j, 3)));
        fprintf(out, "}");
    } else if (IS("StageCallBack")) { /* PATH REQUEST PORT|-|NULL */
        bfs_callback_addr_t address;
        hpss_reqid_t request;
#if V < 705
        hpssoid_t bitfile;
#else
        bfs_bitfile_obj_handle_t bitfile;
#endif
        memset(&request, 0, sizeof(request));
        get_hex(word(j, 2), &request, sizeof(request));
        int is_null = strcmp(word(j, 3), "NULL") == 0;
        if (!is_null)
            callback(word(j, 3), &address);
        address.id = request;
        CALL(hpss_StageCallBack(path(j, 1), 0, 0, 0, is_null ? NULL : &address,
                                BFS_STAGE_ALL, &request, &bitfile));
        put_reqid(out, &request);
        fprintf(out, "}");
    } else if (IS("StageState")) { /* PATH REQUEST: GetAsyncStatus by the release's name
                                    */
        hpss_fileattr_t attributes;
        hpss_reqid_t request;
        signed32 state = -1;
        memset(&attributes, 0, sizeof(attributes));
        memset(&request, 0, sizeof(request));
        get_hex(word(j, 2), &request, sizeof(request));
        if (hpss_FileGetAttributes(path(j, 1), &attributes) < 0)
            exit(3);
#if V < 705
        CALL(hpss_GetAsynchStatus((signed32)request, &attributes.Attrs.BitfileId,
                                  &state));
#else
        CALL(hpss_GetAsyncStatus(request, &attributes.Attrs.BitfileObj, &state));
#endif
        fprintf(out, ", \"state\": \"%s\"}", stage_status(state));
#if V >= 903
    } else if (IS("StageBatch") || IS("BatchState")) {
        batch(j);
#endif
    } else if (IS("Purge")) {
        u_signed64 done = 0;
        CALL(hpss_Purge((int)num(j, 1), 0, 0, 0, BFS_PURGE_ALL, &done));
        fprintf(out, ", \"done\": %lu}", done);
    } else if (IS("Migrate")) {
        u_signed64 done = 0;
        CALL(hpss_Migrate((int)num(j, 1), 0, (unsigned32)num(j, 2), &done));
        fprintf(out, ", \"done\": %lu}", done);
    } else if (IS("PurgeLock")) {
        CALL(hpss_PurgeLock((int)num(j, 1), (purgelock_flag_t)num(j, 2)));
        fprintf(out, "}");
    } else if (IS("Utime")) {
        struct utimbuf times = {num(j, 2), num(j, 2)};
        CALL(hpss_Utime(path(j, 1), &times));
        fprintf(out, "}");
    } else if (IS("Chmod")) {
        CALL(hpss_Chmod(path(j, 1), (mode_t)num(j, 2)));
        fprintf(out, "}");
    } else if (IS("Chown")) {
        CALL(hpss_Chown(path(j, 1), (uid_t)num(j, 2), (gid_t)num(j, 3)));
        fprintf(out, "}");
    } else if (IS("Rename")) {
        CALL(hpss_Rename(path(j, 1), path(j, 2)));
        fprintf(out, "}");
    } else if (IS("Link")) {
        CALL(hpss_Link(path(j, 1), path(j, 2)));
        fprintf(out, "}");
    } else if (IS("Symlink")) {
        CALL(hpss_Symlink(path(j, 1), path(j, 2)));
        fprintf(out, "}");
    } else if (IS("Readlink")) {
        char target[HPSS_MAX_PATH_NAME];
        memset(target, 0, sizeof(target));
        CALL(hpss_Readlink(path(j, 1), target, sizeof(target) - 1));
        fprintf(out, ", \"target\": \"%s\"}", target);
    } else if (IS("Unlink")) {
        CALL(hpss_Unlink(path(j, 1)));
        fprintf(out, "}");
    } else if (IS("Mkdir")) {
        CALL(hpss_Mkdir(path(j, 1), (mode_t)num(j, 2)));
        fprintf(out, "}");
    } else if (IS("Rmdir")) {
        CALL(hpss_Rmdir(path(j, 1)));
        fprintf(out, "}");
    } else if (IS("Access")) {
        CALL(hpss_Access(path(j, 1), (int)num(j, 2)));
        fprintf(out, "}");
    } else if (IS("Truncate")) {
        CALL(hpss_Truncate(path(j, 1), (u_signed64)num(j, 2)));
        fprintf(out, "}");
    } else if (IS("Ftruncate")) {
        CALL(hpss_Ftruncate((int)num(j, 1), (u_signed64)num(j, 2)));
        fprintf(out, "}");
    } else if (IS("Fsync")) {
        CALL(hpss_Fsync((int)num(j, 1)));
        fprintf(out, "}");
    } else if (IS("Umask")) {
        CALL(hpss_Umask((mode_t)num(j, 1)));
        fprintf(out, "}");
    } else if (IS("Opendir")) {
        CALL(hpss_Opendir(path(j, 1)));
        fprintf(out, "}");
    } else if (IS("Readdir")) {
        hpss_dirent_t entry;
        memset(&entry, 0, sizeof(entry));
        CALL(hpss_Readdir((int)num(j, 1), &entry));
        fprintf(out, ", \"name\": \"%s\", \"length\": %d}",
                entry.d_namelen ? entry.d_name : "", entry.d_namelen);
    } else if (IS("Closedir")) {
        CALL(hpss_Closedir((int)num(j, 1)));
        fprintf(out, "}");
    } else if (IS("SetCOSByHints")) { /* FD MIN MAX */
        hpss_cos_hints_t hints;
        hpss_cos_priorities_t priorities;
        hpss_cos_md_t chosen;
        memset(&hints, 0, sizeof(hints));
        memset(&priorities, 0, sizeof(priorities));
        memset(&chosen, 0, sizeof(chosen));
        hints.MinFileSize = (u_signed64)num(j, 2);
        hints.MaxFileSize = (u_signed64)num(j, 3);
        priorities.MinFileSizePriority = REQUIRED_PRIORITY;
        priorities.MaxFileSizePriority = HIGHLY_DESIRED_PRIORITY;
        CALL(hpss_SetCOSByHints((int)num(j, 1), 0, &hints, &priorities, &chosen));
        fprintf(out, ", \"cos\": %u}", chosen.COSId);
    } else if (IS("FileSetCOS")) {
        CALL(hpss_FileSetCOS(path(j, 1), (unsigned32)num(j, 2), 0));
        fprintf(out, "}");
    } else if (IS("UserAttrSetAttrs")) {
        uda(j, 1);
    } else if (IS("UserAttrGetAttrs") || IS("UserAttrDeleteAttrs")) {
        uda(j, 0);
    } else if (IS("async")) {
        job *other = calloc(1, sizeof(*other));
        if (thread_count == THREADS)
            exit(3);
        for (int i = 1; i < j->count; i++)
            other->word[other->count++] = strdup(j->word[i]);
        other->out = open_memstream(&other->text, &other->size);
        threads[thread_count] = other;
        if (pthread_create(&other->thread, NULL, run_thread, other))
            exit(3);
        fprintf(out, "{\"rc\": %d, \"errno\": 0}", thread_count++);
    } else if (IS("join")) {
        job *other = threads[num(j, 1)];
        pthread_join(other->thread, NULL);
        fprintf(out, "%s", other->text);
    } else if (IS("ended")) {
        fprintf(out, "{\"rc\": %d, \"errno\": 0}",
                pthread_tryjoin_np(threads[num(j, 1)]->thread, NULL) == 0);
    } else if (IS("fork")) {
        run_forked(j);
    } else {
        fprintf(stderr, "driver: what is %s?\n", j->word[0]);
        exit(3);
    }
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    while (getline(&line, &size, stdin) > 0) {
        job j = {0};
        char *rest = NULL;
        line[strcspn(line, "\n")] = 0;
        for (char *part = strtok_r(line, "\t", &rest); part && j.count < WORDS;
             part = strtok_r(NULL, "\t", &rest))
            j.word[j.count++] = part;
        j.out = open_memstream(&j.text, &j.size);
        run(&j);
        fclose(j.out);
        printf("%s\n", j.text);
        fflush(stdout);
        free(j.text);
    }
    free(line);
    return 0;
}
