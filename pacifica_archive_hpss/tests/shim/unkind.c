/*
 * A Client API that is worse than any HPSS, under the shim: texts without an end,
 * counts that are too large, lists left behind by calls that fail. Prints `name=value`
 * lines, and is run under AddressSanitizer, which finds what is read or written beyond
 * a buffer and what is not freed. Other calls are stubs that return 0 (test_build.py).
 */

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hpss_api.h>
#include <hpss_errno.h>
#include <hpss_String.h>
#include <hpss_xml.h>

#include "_cdef.h"

static int asked_errors, next_rc, next_lists;
static const char *next_name;
static const char *next_text;

hpss_errno_state_t hpss_GetLastHPSSErrno(void)
{
    hpss_errno_state_t state;

    asked_errors++;
    memset(&state, 0, sizeof(state));
    memset(state.func, 'f', sizeof(state.func));
    state.hpss_errno = next_rc;
    return state;
}

void hpss_ClearLastHPSSErrno(void)
{
    asked_errors++;
}

char *hpss_ErrnoName(int error)
{
    static char name[300];

    memset(name, 'N', sizeof(name) - 1);
    return error < 0 ? name : NULL;
}

int hpss_SetLoginCred(char *principal, hpss_authn_mech_t mechanism,
                      hpss_rpc_cred_type_t cred, hpss_rpc_auth_type_t type,
                      void *keytab)
{
    (void)principal, (void)mechanism, (void)cred, (void)type, (void)keytab;
    errno = EXDEV;
    return next_rc;
}

int hpss_Unlink(const char *path)
{
    (void)path;
    errno = EXDEV;
    return next_rc;
}

ssize_t hpss_Read(int fd, void *buffer, size_t size)
{
    (void)fd, (void)buffer;
    return (ssize_t)size + next_rc;
}

int hpss_SetFileOffset(int fd, u_signed64 offset, int whence, int direction,
                       u_signed64 *reached)
{
    (void)fd, (void)whence, (void)direction;
    *reached = offset + (u_signed64)next_rc;
    return 0;
}

/* As the library does it: one allocation for the list and what it holds. */
static pv_list_t *new_list(void)
{
    pv_list_t *list = calloc(1, sizeof(*list) + sizeof(pv_list_element_t));

    list->List.List_len = 1;
    list->List.List_val = (pv_list_element_t *)(list + 1);
    memset(list->List.List_val[0].Name, 'L', sizeof(list->List.List_val[0].Name));
    return list;
}

int hpss_FileGetXAttributes(const char *path, unsigned32 flags, unsigned32 level,
                            hpss_xfileattr_t *attributes)
{
    bf_sc_attrib_t *tape = &attributes->SCAttrib[1];
    int each;

    (void)path, (void)level;
    if (flags != (API_GET_STATS_FOR_ALL_LEVELS | API_GET_XATTRS_NO_BLOCK))
        return -EINVAL;
    attributes->Attrs.Type = NS_OBJECT_TYPE_HARD_LINK;
    attributes->Attrs.DataLength = UINT64_MAX;
    memset(&attributes->Attrs.BitfileObj.BfId, 0xab,
           sizeof(attributes->Attrs.BitfileObj.BfId));
    tape->Flags = BFS_BFATTRS_LEVEL_IS_TAPE;
    tape->BytesAtLevel = UINT64_MAX;
    /* More than there are: not even the real one fills beyond the array. */
    tape->NumberOfVVs = 4000000000u;
    for (each = 0; each < next_lists; each++)
        tape->VVAttrib[each].PVList = new_list();
    tape->VVAttrib[0].RelPosition = 7;
    return next_rc;
}

int hpss_Readdir(int directory, hpss_dirent_t *entry)
{
    (void)directory;
    memset(entry->d_name, 'n', sizeof(entry->d_name));
    if (next_name != NULL)
        memcpy(entry->d_name, next_name, strlen(next_name) + 1);
    entry->d_namelen = (unsigned16)next_rc;
    return 0;
}

static char stored[8][HPSS_XML_SIZE];

int hpss_UserAttrSetAttrs(const char *path, const hpss_userattr_list_t *list,
                          const char *schema)
{
    int each;

    (void)path, (void)schema;
    for (each = 0; each < list->len; each++)
        snprintf(stored[each], HPSS_XML_SIZE, "%s", list->Pair[each].Value);
    return 0;
}

int hpss_UserAttrGetAttrs(const char *path, hpss_userattr_list_t *list, int flag,
                          int size)
{
    int each;

    (void)path, (void)flag;
    for (each = 0; each < list->len; each++)
        if (next_text == NULL) /* all the room, without an end */
            memset(list->Pair[each].Value, 'v', (size_t)size);
        else if (next_text[0] != '\0')
            snprintf(list->Pair[each].Value, (size_t)size, "%s", next_text);
        else
            memcpy(list->Pair[each].Value, stored[each], (size_t)size);
    return 0;
}

char *hpss_ChompXMLHeader(char *xml, char *header)
{
    (void)header;
    return strdup(xml);
}

static int batches, statuses, last_status;

int API_StageBatchInit(hpss_stage_batch_t *batch, int length)
{
    (void)batch;
    batches += length;
    return 0;
}

void API_StageBatchFree(hpss_stage_batch_t *batch)
{
    (void)batch;
    batches = 0;
}

static void put_statuses(hpss_stage_batch_status_t *status)
{
    int each;

    status->StatusList.StatusList_val =
        calloc((size_t)statuses + 1, sizeof(*status->StatusList.StatusList_val));
    status->StatusList.StatusList_len = (unsigned)statuses;
    for (each = 0; each < statuses; each++)
        status->StatusList.StatusList_val[each].StageStatus = last_status;
}

void API_StageStatusFree(hpss_stage_batch_status_t *status)
{
    free(status->StatusList.StatusList_val);
}

int hpss_StageBatchCallBack(hpss_stage_batch_t *batch, bfs_callback_addr_t *address,
                            hpss_reqid_t *request, hpss_stage_bitfile_list_t *list,
                            hpss_stage_batch_status_t *status)
{
    (void)batch, (void)address, (void)request;
    list->BFList.BFList_val = malloc(64);
    put_statuses(status);
    return next_rc;
}

int hpss_GetBatchAsynchStatus(hpss_reqid_t request, hpss_stage_bitfile_list_t *list,
                              hpss_stage_status_type_t type,
                              hpss_stage_batch_status_t *status)
{
    (void)request, (void)list, (void)type;
    put_statuses(status);
    return next_rc;
}

int hpss_net_getaddrinfo(const char *host, const char *service, int flags,
                         hpss_ipproto_t protocol, hpss_sockaddr_t *address, char *text,
                         size_t size)
{
    (void)host, (void)service, (void)flags, (void)protocol, (void)address;
    memset(text, 'e', size);
    return next_rc;
}

static void say(const char *name, const char *value)
{
    printf("%s=%s\n", name, value);
}

static void count(const char *name, int64_t value)
{
    printf("%s=%" PRId64 "\n", name, value);
}

static void try_errors(void)
{
    static const int codes[] = {
        -1,    -2,    -34,    -39,   -EDQUOT, -ESTALE, -95,   -52,  -64,  -78,
        -86,   -87,   -88,    -46,   -50,     -1406,   -1497, -102, -105, -11000,
        -11020, -11045, -11046, -9999, INT32_MIN,
    };
    pah_error error;
    char name[32];
    size_t each;

    for (each = 0; each < sizeof(codes) / sizeof(codes[0]); each++) {
        next_rc = codes[each];
        pah_unlink("/", &error);
        snprintf(name, sizeof(name), "code%d", codes[each]);
        count(name, error.code);
        if (error.rc != codes[each])
            say(name, "the raw number is lost");
    }
    count("local_errno", error.local_errno);
    count("length_of_name", (int64_t)strlen(error.name));
    say("function", error.function);
    /* A result that is an error in no counting, of a call that answers with 0. */
    next_rc = 5;
    count("positive", pah_unlink("/", &error));
    count("positive_rc", error.rc);
    next_rc = 0;
    count("fine", pah_unlink("/", &error));
    count("code_when_fine", error.code);
}

static void try_login(void)
{
    pah_error error;

    next_rc = -EPERM;
    pah_unlink("/", &error);
    count("failed_login", pah_login("user", "unix", "/keytab", &error));
    pah_unlink("/", &error);
    count("foreign_mechanism", pah_login("user", "gsi", "/keytab", &error));
    count("asked_before_login", asked_errors);
    next_rc = 0;
    count("login", pah_login("user", "unix", "/keytab", &error));
    pah_unlink("/", &error);
    count("asked_after_login", asked_errors > 0);
    pah_logout();
    asked_errors = 0;
    pah_unlink("/", &error);
    count("asked_after_logout", asked_errors);
    pah_login("user", "krb5", "/keytab", &error);
}

static void try_status(void)
{
    pah_status status;
    pah_error error;

    next_rc = 0;
    next_lists = BFS_MAX_VV_TO_RETURN_AT_LEVEL;
    pah_get_status("/", &status, &error);
    say("cartridge", status.levels[1].cartridge);
    count("position", status.levels[1].position);
    count("flags", status.levels[1].flags);
    count("unused_position", status.levels[0].position);
    count("kind", status.kind);
    say("bitfile", status.bitfile.id);
    printf("bytes=%" PRIu64 "\n", status.levels[1].bytes);
    next_lists = 0;
    pah_get_status("/", &status, &error);
    count("position_without_list", status.levels[1].position);
    /* What a call has begun to fill and then failed. */
    next_lists = 3;
    next_rc = -EIO;
    count("failed_status", pah_get_status("/", &status, &error));
    count("size_of_failed", (int64_t)status.size);
}

static void try_bytes(void)
{
    pah_error error;
    char buffer[8];

    next_rc = 0;
    count("read", pah_read(3, buffer, sizeof(buffer), &error));
    next_rc = 1;
    count("read_too_much", pah_read(3, buffer, sizeof(buffer), &error));
    next_rc = 0;
    count("read_at_most", pah_read(3, NULL, UINT64_MAX, &error));
    count("seek", pah_seek(3, (uint64_t)5 << 32, &error));
    next_rc = 1;
    count("seek_elsewhere", pah_seek(3, (uint64_t)5 << 32, &error));
    count("early_mtime", pah_utime("/", -1, &error));
    count("late_mtime", pah_utime("/", (int64_t)1 << 32, &error));
    count("last_mtime", pah_utime("/", UINT32_MAX, &error));
}

static void try_names(void)
{
    pah_error error;
    char name[16];

    next_name = "short";
    next_rc = 5;
    count("readdir", pah_readdir(3, name, sizeof(name), &error));
    say("name", name);
    /* A length that counts the NUL, too. */
    next_rc = 6;
    pah_readdir(3, name, sizeof(name), &error);
    say("name_with_nul", name);
    next_rc = 0;
    count("end", pah_readdir(3, name, sizeof(name), &error));
    /* No NUL, and a length beyond the structure. */
    next_name = NULL;
    next_rc = UINT16_MAX;
    count("endless_name", pah_readdir(3, name, sizeof(name), &error));
    next_rc = 15;
    count("longest_name", pah_readdir(3, name, sizeof(name), &error));
    say("longest", name);
    count("no_room", pah_readdir(3, name, 0, &error));
}

static void try_attributes(void)
{
    static const char *const keys[] = {"/hpss/user/a", "/hpss/user/b"};
    static const char *const values[] = {"a > 'b' \"c\"", ""};
    static const char *const markup[] = {"a<b", "&lt;"};
    char *large = malloc(HPSS_XML_SIZE + 1);
    const char *larges[1] = {large};
    char got[2][HPSS_XML_SIZE + 8];
    pah_error error;

    count("set", pah_set_attributes("/", 2, keys, values, &error));
    count("set_markup", pah_set_attributes("/", 1, keys, markup, &error));
    count("set_entity", pah_set_attributes("/", 1, keys, markup + 1, &error));
    say("stored", stored[0]);
    next_text = "";
    count("get", pah_get_attributes("/", 2, keys, got[0], sizeof(got[0]), &error));
    say("got", got[0]);
    count("got_empty", (int64_t)strlen(got[1]));
    next_text = "text";
    count("exact_room", pah_get_attributes("/", 2, keys, got[0], 5, &error));
    count("too_little_room", pah_get_attributes("/", 2, keys, got[0], 4, &error));
    next_text = "&lt;";
    pah_get_attributes("/", 1, keys, got[0], sizeof(got[0]), &error);
    say("got_entity", got[0]);
    next_text = NULL;
    count("endless_value",
          pah_get_attributes("/", 2, keys, got[0], sizeof(got[0]), &error) == 0 &&
              strlen(got[1]) == HPSS_XML_SIZE - 1);
    memset(large, 'x', HPSS_XML_SIZE);
    large[HPSS_XML_SIZE - 256] = '\0';
    count("largest_value", pah_set_attributes("/", 1, keys, larges, &error));
    large[HPSS_XML_SIZE - 256] = 'x';
    large[HPSS_XML_SIZE - 255] = '\0';
    count("large_value", pah_set_attributes("/", 1, keys, larges, &error));
    free(large);
    count("no_keys", pah_set_attributes("/", 0, keys, values, &error));
}

static void try_batches(void)
{
    static const uint8_t request[16] = {0xde, 0xad};
    static pah_bitfile bitfiles[PAH_BATCH + 1];
    int32_t codes[PAH_BATCH + 1];
    pah_callback callback;
    pah_status status;
    pah_error error;
    int each;

    next_rc = next_lists = 0;
    pah_get_status("/", &status, &error);
    for (each = 0; each <= PAH_BATCH; each++)
        bitfiles[each] = status.bitfile;
    statuses = 2;
    last_status = -1406;
    count("batch", pah_batch_stage(2, bitfiles, request, NULL, codes, &error));
    count("batch_code", codes[1]);
    last_status = 2;
    count("batch_state", pah_batch_state(2, bitfiles, request, codes, &error));
    count("state_in_progress", codes[1]);
    last_status = 0;
    pah_batch_state(2, bitfiles, request, codes, &error);
    count("state_unknown", codes[1]);
    /* A number of single stages, which says nothing of one in a batch. */
    last_status = HPSS_STAGE_STATUS_UNKNOWN;
    pah_batch_state(2, bitfiles, request, codes, &error);
    count("state_of_another_number", codes[1]);
    count("short_answer", pah_batch_state(3, bitfiles, request, codes, &error));
    count("large_batch",
          pah_batch_stage(PAH_BATCH + 1, bitfiles, request, NULL, codes, &error));
    count("large_state",
          pah_batch_state(PAH_BATCH + 1, bitfiles, request, codes, &error));
    bitfiles[1].handle_size = 0;
    count("foreign_bitfile",
          pah_batch_stage(2, bitfiles, request, NULL, codes, &error));
    next_rc = -EIO;
    count("failed_batch", pah_batch_stage(1, bitfiles, request, NULL, codes, &error));
    count("failed_state", pah_batch_state(1, bitfiles, request, codes, &error));
    count("batches_left", batches);
    /* EAI_NONAME, which is not ENOENT. */
    next_rc = -2;
    count("resolve", pah_resolve("host", "port", &callback, &error));
    count("length_of_text", (int64_t)strlen(error.name));
}

int main(void)
{
    try_login();
    try_errors();
    try_status();
    try_bytes();
    try_names();
    try_attributes();
    try_batches();
    return 0;
}
