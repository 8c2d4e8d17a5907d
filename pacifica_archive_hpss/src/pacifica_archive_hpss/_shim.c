/*
 * What _cdef.h declares, said to the HPSS Client API. Every HPSS structure, macro and
 * difference between releases stays in this file.
 *
 * No HPSS header was seen when it was written: names and types come from public
 * programs that call HPSS. What none of them shows is called a guess below.
 * _build.py asks the site's headers and library by compiling, and answers with:
 *   PAH_HAVE_BITFILE_OBJ     a bitfile is a bfs_bitfile_obj_handle_t, else a hpssoid_t
 *   PAH_HAVE_UUID_REQUESTS   hpss_reqid_t is a hpss_uuid_t, else an integer
 *   PAH_HAVE_SIZED_GETATTRS  hpss_UserAttrGetAttrs takes the size of a value
 *   PAH_HAVE_ASYNC_STATUS, PAH_HAVE_ASYNCH_STATUS, PAH_HAVE_BATCH, PAH_HAVE_LINK,
 *   PAH_HAVE_MIGRATE, PAH_HAVE_PURGE,
 *   PAH_HAVE_ERRNO_NAME, PAH_HAVE_NET_ADDRESS,
 *   PAH_HAVE_SERVER_PING (by hpss_srvr_id_t), PAH_HAVE_UUID_PING (by hpss_uuid_t)
 */

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <utime.h>

#include <hpss_api.h>
#include <hpss_errno.h>
#include <hpss_mech.h>
#include <hpss_String.h>
#include <hpss_version.h>
#include <hpss_xml.h>
/* Before 7.5 the others do not include it. */
#if __has_include(<hpss_net.h>)
#include <hpss_net.h>
#endif

#include "_cdef.h"

/* Arithmetic below is done on u_signed64; on 32-bit machines it is a structure. */
_Static_assert(sizeof(void *) == 8 && sizeof(long) == 8, "needs a 64-bit machine");
_Static_assert(sizeof(u_signed64) == 8, "u_signed64 is not 64 bits");
_Static_assert((u_signed64)-1 > 0, "u_signed64 is signed");
/* With more levels than we look at, a file on the last one would look lost. */
_Static_assert(HPSS_MAX_STORAGE_LEVELS == PAH_LEVELS, "levels of a hierarchy");

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define LEAST(one, other) ((one) < (other) ? (one) : (other))

/* For what not every release needs. */
#define OPTIONAL __attribute__((unused)) static

/* Until 7.4 the API takes char * for what it does not change. */
#define TEXT(constant) ((char *)(constant))

/* At most this much at once: whether HPSS counts beyond 31 bits is not known. */
#define LARGEST_TRANSFER ((uint64_t)1 << 30)

#ifdef PAH_HAVE_BITFILE_OBJ
typedef bfs_bitfile_obj_handle_t bitfile_handle;
#else
typedef hpssoid_t bitfile_handle;
#endif
_Static_assert(sizeof(bitfile_handle) <= sizeof(((pah_bitfile *)0)->handle),
               "pah_bitfile is too small");
#ifdef PAH_HAVE_NET_ADDRESS
_Static_assert(sizeof(hpss_sockaddr_t) <= sizeof(((pah_callback *)0)->address),
               "pah_callback is too small");
/* Else an address would be dropped in silence, and monitors turn red. */
_Static_assert(sizeof(((bfs_callback_addr_t *)0)->sockaddr) == sizeof(hpss_sockaddr_t),
               "a callback takes another address than hpss_net_getaddrinfo gives");
#endif

/* Absent from HPSS. */
extern int hpss_sim_is_simulator(void) __attribute__((weak));

/*
 * Whether a login has succeeded. Before it, even hpss_ClearLastHPSSErrno may never
 * return (GridFTP-DSI-for-HPSS, hpss.c).
 */
static int logged_in;

/* --- errors --------------------------------------------------------------------- */

/*
 * Linux numbers above 34 that a call on files or the network may mean. Those that mean
 * nothing here are left out: 52 is EBADE on Linux, and ESTALE in HPSS.
 */
static const int linux_codes[] = {
    EDEADLK,      ENAMETOOLONG, ENOLCK,     ENOSYS,        ENOTEMPTY,
    ELOOP,        ENODATA,      ETIME,      EPROTO,        EBADMSG,
    EOVERFLOW,    EMSGSIZE,     EOPNOTSUPP, EADDRINUSE,    EADDRNOTAVAIL,
    ENETDOWN,     ENETUNREACH,  ENETRESET,  ECONNABORTED,  ECONNRESET,
    ENOBUFS,      EISCONN,      ENOTCONN,   ETIMEDOUT,     ECONNREFUSED,
    EHOSTDOWN,    EHOSTUNREACH, EALREADY,   EINPROGRESS,   ESTALE,
    EDQUOT,       ECANCELED,
};

/* HPSS numbers above 34, which are AIX's and not Linux's. */
static const struct {
    int hpss, local;
} hpss_codes[] = {
    {HPSS_E_NOERROR, 0},
#ifdef HPSS_EDEADLK
    {HPSS_EDEADLK, EDEADLK},
#endif
#ifdef HPSS_ENOLCK
    {HPSS_ENOLCK, ENOLCK},
#endif
#ifdef HPSS_EWRPROTECT
    {HPSS_EWRPROTECT, EROFS},
#endif
#ifdef HPSS_ECONN
    {HPSS_ECONN, ENOTCONN},
#endif
#ifdef HPSS_ESTALE
    {HPSS_ESTALE, ESTALE},
#endif
#ifdef HPSS_EMSGSIZE
    {HPSS_EMSGSIZE, EMSGSIZE},
#endif
#ifdef HPSS_ENOSR
    {HPSS_ENOSR, ENOSR},
#endif
#ifdef HPSS_EOPNOTSUPP
    {HPSS_EOPNOTSUPP, EOPNOTSUPP},
#endif
#ifdef HPSS_ENOTSUPPORTED
    {HPSS_ENOTSUPPORTED, EOPNOTSUPP},
#endif
#ifdef HPSS_ENOLINK
    {HPSS_ENOLINK, ENOLINK},
#endif
#ifdef HPSS_EBADMSG
    {HPSS_EBADMSG, EBADMSG},
#endif
#ifdef HPSS_ETIMEDOUT
    {HPSS_ETIMEDOUT, ETIMEDOUT},
#endif
#ifdef HPSS_ENAMETOOLONG
    {HPSS_ENAMETOOLONG, ENAMETOOLONG},
#endif
#ifdef HPSS_ENOTEMPTY
    {HPSS_ENOTEMPTY, ENOTEMPTY},
#endif
#ifdef HPSS_EDQUOT
    {HPSS_EDQUOT, EDQUOT},
#endif
#ifdef HPSS_ENOSYS
    {HPSS_ENOSYS, ENOSYS},
#endif
#ifdef HPSS_ELOOP
    {HPSS_ELOOP, ELOOP},
#endif
#ifdef HPSS_ECONNREFUSED
    {HPSS_ECONNREFUSED, ECONNREFUSED},
#endif
#ifdef HPSS_ECONNRESET
    {HPSS_ECONNRESET, ECONNRESET},
#endif
#ifdef HPSS_ECONNABORTED
    {HPSS_ECONNABORTED, ECONNABORTED},
#endif
#ifdef HPSS_ENOTCONN
    {HPSS_ENOTCONN, ENOTCONN},
#endif
#ifdef HPSS_EINPROGRESS
    {HPSS_EINPROGRESS, EINPROGRESS},
#endif
/* From 11.3 on: there is no such user-defined attribute. ENOENT before. */
#ifdef HPSS_ENOATTR
    {HPSS_ENOATTR, ENOENT},
#endif
#ifdef HPSS_ENOTALLMOVED
    {HPSS_ENOTALLMOVED, PAH_NOT_ALL_MOVED},
#endif
    {-PAH_NOT_ALL_MOVED, PAH_NOT_ALL_MOVED},
};

/* Return what a negative result means, as a positive Linux errno. */
static int32_t normalise(int64_t rc)
{
    int64_t number = -rc;
    size_t each;

    /* The same in both countings. */
    if (number >= 1 && number <= 34)
        return (int32_t)number;
    for (each = 0; each < COUNT(linux_codes); each++)
        if (linux_codes[each] == number)
            return linux_codes[each];
    /* From 1: a result is no error without a number. */
    for (each = 1; each < COUNT(hpss_codes); each++)
        if (llabs(hpss_codes[each].hpss) == number)
            return hpss_codes[each].local;
#if defined(HPSS_SEC_ENOT_AUTHORIZED) && defined(HPSS_SEC_LDAP_RETRY)
    if (rc <= HPSS_SEC_ENOT_AUTHORIZED && rc >= HPSS_SEC_LDAP_RETRY)
        return EACCES;
#endif
    /* Not EIO, which would say that a file is damaged. */
    return EREMOTEIO;
}

/* Copy at most `limit` bytes of a text that may lack its NUL; cut it if need be. */
static void put_text(char *target, size_t size, const char *text, size_t limit)
{
    size_t length = text == NULL ? 0 : strnlen(text, LEAST(limit, size - 1));

    if (length > 0)
        memcpy(target, text, length);
    target[length] = '\0';
}

static void put_hex(char *target, size_t size, const void *bytes, size_t count)
{
    size_t each;

    target[0] = '\0';
    for (each = 0; each < count && 2 * each + 3 <= size; each++)
        snprintf(target + 2 * each, 3, "%02x", ((const uint8_t *)bytes)[each]);
}

/* Give its bytes as text would spell them. */
OPTIONAL void get_uuid(const hpss_uuid_t *uuid, uint8_t bytes[16])
{
    bytes[0] = (uint8_t)(uuid->time_low >> 24);
    bytes[1] = (uint8_t)(uuid->time_low >> 16);
    bytes[2] = (uint8_t)(uuid->time_low >> 8);
    bytes[3] = (uint8_t)uuid->time_low;
    bytes[4] = (uint8_t)(uuid->time_mid >> 8);
    bytes[5] = (uint8_t)uuid->time_mid;
    bytes[6] = (uint8_t)(uuid->time_hi_and_version >> 8);
    bytes[7] = (uint8_t)uuid->time_hi_and_version;
    bytes[8] = (uint8_t)uuid->clock_seq_hi_and_reserved;
    bytes[9] = (uint8_t)uuid->clock_seq_low;
    memcpy(bytes + 10, uuid->node, 6);
}

/* A request id is ours: big-endian, as text would spell it. */
static void get_request_id(hpss_reqid_t id, char *text, size_t size)
{
#ifdef PAH_HAVE_UUID_REQUESTS
    uint8_t bytes[16];

    get_uuid(&id, bytes);
    put_hex(text, size, bytes, sizeof(bytes));
#else
    snprintf(text, size, "%08lx", (unsigned long)id & 0xffffffffUL);
#endif
}

static void set_request_id(hpss_reqid_t *id, const uint8_t bytes[16])
{
    uint32_t first = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
                     (uint32_t)bytes[2] << 8 | (uint32_t)bytes[3];

#ifdef PAH_HAVE_UUID_REQUESTS
    memset(id, 0, sizeof(*id));
    id->time_low = first;
    id->time_mid = (uint16_t)(bytes[4] << 8 | bytes[5]);
    id->time_hi_and_version = (uint16_t)(bytes[6] << 8 | bytes[7]);
    id->clock_seq_hi_and_reserved = bytes[8];
    id->clock_seq_low = bytes[9];
    memcpy(id->node, bytes + 10, 6);
#else
    *id = (hpss_reqid_t)first;
#endif
}

/* Begin a call: what is read of it afterwards shall not be of one before. */
static void begin(pah_error *error, const char *function)
{
    memset(error, 0, sizeof(*error));
    put_text(error->function, sizeof(error->function), function, SIZE_MAX);
    if (__atomic_load_n(&logged_in, __ATOMIC_ACQUIRE))
        hpss_ClearLastHPSSErrno();
    errno = 0;
}

/* Say what went wrong without the Client API. */
static int32_t refuse(pah_error *error, int32_t code)
{
    error->code = code;
    return -code;
}

/* Turn the result of a call into ours. Nothing may stand between the call and this. */
static int64_t finish(int64_t rc, pah_error *error)
{
    int local_errno = errno;

    if (rc >= 0)
        return rc;
    error->rc = (int32_t)rc;
    error->local_errno = local_errno;
    if (__atomic_load_n(&logged_in, __ATOMIC_ACQUIRE)) {
        hpss_errno_state_t last = hpss_GetLastHPSSErrno();

        error->hpss_errno = (int32_t)last.hpss_errno;
        if (error->hpss_errno != 0) {
#ifdef PAH_HAVE_ERRNO_NAME
            /* It takes minus the number, however that was told. */
            put_text(error->name, sizeof(error->name),
                     hpss_ErrnoName(error->hpss_errno < 0 ? error->hpss_errno
                                                          : -error->hpss_errno),
                     SIZE_MAX);
#endif
            get_request_id(last.requestId, error->request_id,
                           sizeof(error->request_id));
        }
    }
    return refuse(error, normalise(rc));
}

/* The same of a call that answers with 0 if all is well: anything else is not. */
static int32_t finish_zero(int rc, pah_error *error)
{
    int32_t result;

    if (rc == 0)
        return 0;
    result = (int32_t)finish(rc < 0 ? rc : -EIO, error);
    error->rc = rc;
    return result;
}

#define CALL(error, function, arguments) (begin(error, #function), function arguments)

/* --- the session ---------------------------------------------------------------- */

void pah_describe(pah_build *build)
{
    memset(build, 0, sizeof(*build));
    build->major = HPSS_MAJOR_VERSION;
    build->minor = HPSS_MINOR_VERSION;
    build->simulator = hpss_sim_is_simulator != NULL && hpss_sim_is_simulator() != 0;
#if defined(PAH_HAVE_ASYNC_STATUS) || defined(PAH_HAVE_ASYNCH_STATUS)
    build->has_stage_status = 1;
#endif
#ifdef PAH_HAVE_BATCH
    build->has_batch = 1;
#endif
#if defined(PAH_HAVE_SERVER_PING) || defined(PAH_HAVE_UUID_PING)
    build->has_ping = 1;
#endif
}

/* May a login that fails so have been made? Its reply was lost, or never waited for. */
static int is_lost(int32_t code)
{
    return code == ECONNRESET || code == ECONNABORTED || code == ENOTCONN ||
           code == EPIPE || code == ETIMEDOUT || code == EINTR || code == ENETRESET ||
           code == ENETDOWN || code == ENETUNREACH || code == EHOSTDOWN ||
           code == EHOSTUNREACH || code == EREMOTEIO;
}

int32_t pah_login(const char *principal, const char *mechanism, const char *keytab,
                  pah_error *error)
{
    /* Of the one before: logins are never made at once. */
    static int lost;
    hpss_authn_mech_t how;
    int32_t result;

    begin(error, "hpss_SetLoginCred");
    if (strcmp(mechanism, "unix") == 0)
        how = hpss_authn_mech_unix;
    else if (strcmp(mechanism, "krb5") == 0)
        how = hpss_authn_mech_krb5;
    else
        return refuse(error, EINVAL);
    /* A second login is EIO for as long as the first one lasts (jTReqS); that may be
       one which the caller was interrupted in, and does not know of. */
    if (__atomic_exchange_n(&logged_in, 0, __ATOMIC_ACQ_REL) || lost)
        hpss_PurgeLoginCred();
    result = finish_zero(hpss_SetLoginCred(TEXT(principal), how, hpss_rpc_cred_client,
                                           hpss_rpc_auth_type_keytab,
                                           (void *)TEXT(keytab)),
                         error);
    lost = is_lost(-result);
    if (result == 0)
        __atomic_store_n(&logged_in, 1, __ATOMIC_RELEASE);
    return result;
}

void pah_logout(void)
{
    __atomic_store_n(&logged_in, 0, __ATOMIC_RELEASE);
    /* Two public callers go in this order, one in the other. */
    hpss_ClientAPIReset();
    hpss_PurgeLoginCred();
}

int32_t pah_level_text(char *text, uint32_t size, pah_error *error)
{
    char *level = CALL(error, hpss_BuildLevelString, ());

    if (level == NULL || size == 0) {
        free(level);
        return refuse(error, level == NULL ? ENOMEM : EINVAL);
    }
    put_text(text, size, level, SIZE_MAX);
    free(level);
    return 0;
}

int32_t pah_ping(const char *site, pah_error *error)
{
#if defined(PAH_HAVE_SERVER_PING) || defined(PAH_HAVE_UUID_PING)
#ifdef PAH_HAVE_SERVER_PING
    hpss_srvr_id_t server;
#else
    hpss_uuid_t server;
#endif
    /* The server's clock: what it differs from ours by is no latency. */
    unsigned32 seconds = 0, microseconds = 0;
    int32_t result;

    memset(&server, 0, sizeof(server));
    result = finish_zero(CALL(error, hpss_LookupRootCS, (TEXT(site), &server)), error);
    if (result != 0)
        return result;
    return finish_zero(
        CALL(error, hpss_PingCore, (&server, &seconds, &microseconds)), error);
#else
    (void)site;
    begin(error, "hpss_PingCore");
    return refuse(error, ENOSYS);
#endif
}

/* --- names ---------------------------------------------------------------------- */

/* Times are unsigned in 32 bits; a wider type of a later release is taken whole. */
#define SECONDS(time) (sizeof(time) == 4 ? (int64_t)(uint32_t)(time) : (int64_t)(time))

static int32_t kind_of_type(unsigned32 type)
{
    /* Not a switch: the numbers are not public, so nor is that they differ. */
    if (type == NS_OBJECT_TYPE_FILE || type == NS_OBJECT_TYPE_HARD_LINK)
        return PAH_FILE;
    if (type == NS_OBJECT_TYPE_DIRECTORY || type == NS_OBJECT_TYPE_FILESET_ROOT ||
        type == NS_OBJECT_TYPE_JUNCTION)
        return PAH_DIRECTORY;
    return type == NS_OBJECT_TYPE_SYM_LINK ? PAH_SYMLINK : PAH_OTHER;
}

static void put_bitfile(pah_bitfile *bitfile, const hpss_Attrs_t *attributes)
{
#ifdef PAH_HAVE_BITFILE_OBJ
    const bitfile_handle *handle = &attributes->BitfileObj;

    _Static_assert(2 * sizeof(handle->BfId.Bytes) < sizeof(bitfile->id),
                   "pah_bitfile is too small");
    put_hex(bitfile->id, sizeof(bitfile->id), handle->BfId.Bytes,
            sizeof(handle->BfId.Bytes));
#else
    const bitfile_handle *handle = &attributes->BitfileId;
    uint8_t bytes[16];

    get_uuid(&handle->ObjectID, bytes);
    put_hex(bitfile->id, sizeof(bitfile->id), bytes, sizeof(bytes));
#endif
    memcpy(bitfile->handle, handle, sizeof(*handle));
    bitfile->handle_size = sizeof(*handle);
}

static void put_level(pah_level *level, const bf_sc_attrib_t *attributes)
{
    const bf_vv_attrib_t *first = &attributes->VVAttrib[0];

    level->position = -1;
    if (attributes->Flags == 0)
        return;
    if (attributes->Flags & BFS_BFATTRS_LEVEL_IS_DISK)
        level->flags |= PAH_DISK;
    if (attributes->Flags & BFS_BFATTRS_LEVEL_IS_TAPE)
        level->flags |= PAH_TAPE;
    if (attributes->Flags & BFS_BFATTRS_DATAEXISTS_AT_LEVEL)
        level->flags |= PAH_DATA;
    level->bytes = attributes->BytesAtLevel;
    /* No list: no cartridge has been chosen yet (GridFTP-DSI-for-HPSS, stage.c). */
    if (!(level->flags & PAH_TAPE) || attributes->NumberOfVVs < 1 ||
        first->PVList == NULL || first->PVList->List.List_len < 1 ||
        first->PVList->List.List_val == NULL)
        return;
    level->position = (int32_t)first->RelPosition;
    level->position_offset = first->RelPositionOffset;
    put_text(level->cartridge, sizeof(level->cartridge),
             first->PVList->List.List_val[0].Name,
             sizeof(first->PVList->List.List_val[0].Name));
}

/*
 * The library makes the lists, the caller frees them. That what a list holds is of the
 * same allocation is a guess: one public caller frees it too, two do not.
 */
static void free_lists(const hpss_xfileattr_t *attributes)
{
    size_t level, each;

    for (level = 0; level < COUNT(attributes->SCAttrib); level++) {
        const bf_sc_attrib_t *at = &attributes->SCAttrib[level];

        for (each = 0; each < COUNT(at->VVAttrib); each++)
            if (each < (size_t)at->NumberOfVVs)
                free(at->VVAttrib[each].PVList);
    }
}

int32_t pah_get_status(const char *path, pah_status *status, pah_error *error)
{
    hpss_xfileattr_t attributes;
    timestamp_sec_t accessed = 0, modified = 0, changed = 0;
    size_t level;
    int32_t result;

    memset(status, 0, sizeof(*status));
    /* What HPSS does not fill has to read as nothing. */
    memset(&attributes, 0, sizeof(attributes));
    /* Without NO_BLOCK it waits for a file that moves between levels. */
    result = finish_zero(
        CALL(error, hpss_FileGetXAttributes,
             (TEXT(path), API_GET_STATS_FOR_ALL_LEVELS | API_GET_XATTRS_NO_BLOCK, 0,
              &attributes)),
        error);
    if (result == 0) {
        API_ConvertTimeToPosixTime(&attributes.Attrs, &accessed, &modified, &changed);
        status->size = attributes.Attrs.DataLength;
        status->mtime_s = SECONDS(modified);
        status->ctime_s = SECONDS(changed);
        status->kind = kind_of_type((unsigned32)attributes.Attrs.Type);
        status->class_of_service = (uint32_t)attributes.Attrs.COSId;
        if (status->kind == PAH_FILE)
            put_bitfile(&status->bitfile, &attributes.Attrs);
        for (level = 0; level < PAH_LEVELS; level++)
            put_level(&status->levels[level], &attributes.SCAttrib[level]);
    }
    free_lists(&attributes);
    return result;
}

int32_t pah_lstat(const char *path, pah_stat *status, pah_error *error)
{
    hpss_stat_t attributes;
    int32_t result;

    memset(status, 0, sizeof(*status));
    memset(&attributes, 0, sizeof(attributes));
    result = finish_zero(CALL(error, hpss_Lstat, (TEXT(path), &attributes)), error);
    if (result != 0)
        return result;
    status->size = (uint64_t)attributes.st_size;
    status->mtime_s = SECONDS(attributes.hpss_st_mtime);
    status->mode = (uint32_t)attributes.st_mode & 07777;
    status->links = (uint32_t)attributes.st_nlink;
    status->kind = S_ISREG(attributes.st_mode)   ? PAH_FILE
                   : S_ISDIR(attributes.st_mode) ? PAH_DIRECTORY
                   : S_ISLNK(attributes.st_mode) ? PAH_SYMLINK
                                                 : PAH_OTHER;
    return 0;
}

int32_t pah_utime(const char *path, int64_t mtime_s, pah_error *error)
{
    struct utimbuf times;

    begin(error, "hpss_Utime");
    /* HPSS keeps 32 bits; beyond them it would keep another time. */
    if (mtime_s < 0 || mtime_s > (int64_t)UINT32_MAX)
        return refuse(error, EINVAL);
    times.modtime = (time_t)mtime_s;
    /* Now, as policies of purging go by it. */
    times.actime = time(NULL);
    return finish_zero(CALL(error, hpss_Utime, (TEXT(path), &times)), error);
}

int32_t pah_chmod(const char *path, uint32_t mode, pah_error *error)
{
    return finish_zero(CALL(error, hpss_Chmod, (TEXT(path), (mode_t)mode)), error);
}

int32_t pah_rename(const char *old_path, const char *new_path, pah_error *error)
{
    return finish_zero(CALL(error, hpss_Rename, (TEXT(old_path), TEXT(new_path))),
                       error);
}

int32_t pah_link(const char *old_path, const char *new_path, pah_error *error)
{
#ifdef PAH_HAVE_LINK
    return finish_zero(CALL(error, hpss_Link, (TEXT(old_path), TEXT(new_path))),
                       error);
#else
    (void)old_path;
    (void)new_path;
    begin(error, "hpss_Link");
    return refuse(error, ENOSYS);
#endif
}

int32_t pah_unlink(const char *path, pah_error *error)
{
    return finish_zero(CALL(error, hpss_Unlink, (TEXT(path))), error);
}

int32_t pah_mkdir(const char *path, uint32_t mode, pah_error *error)
{
    return finish_zero(CALL(error, hpss_Mkdir, (TEXT(path), (mode_t)mode)), error);
}

int32_t pah_rmdir(const char *path, pah_error *error)
{
    return finish_zero(CALL(error, hpss_Rmdir, (TEXT(path))), error);
}

int32_t pah_opendir(const char *path, pah_error *error)
{
    return (int32_t)finish(CALL(error, hpss_Opendir, (TEXT(path))), error);
}

int32_t pah_readdir(int32_t directory, char *name, uint32_t size, pah_error *error)
{
    /* One public caller leaves room behind the entry for a name: it costs nothing. */
    union {
        hpss_dirent_t entry;
        char bytes[sizeof(hpss_dirent_t) + 1024];
    } room;
    const char *found = room.bytes + offsetof(hpss_dirent_t, d_name);
    size_t length;
    int32_t result;

    memset(&room, 0, sizeof(room));
    result = finish_zero(CALL(error, hpss_Readdir, (directory, &room.entry)), error);
    if (result != 0)
        return result;
    length = strnlen(found, sizeof(room) - offsetof(hpss_dirent_t, d_name));
    if (room.entry.d_namelen < length)
        length = room.entry.d_namelen;
    if (length == 0)
        return 0;
    if (length >= size)
        return refuse(error, ENAMETOOLONG);
    put_text(name, size, found, length);
    return 1;
}

int32_t pah_closedir(int32_t directory, pah_error *error)
{
    return finish_zero(CALL(error, hpss_Closedir, (directory)), error);
}

/* --- bytes ---------------------------------------------------------------------- */

int32_t pah_open(const char *path, int32_t recall, pah_error *error)
{
    int flags = O_RDONLY | (recall ? 0 : O_NONBLOCK);

    return (int32_t)finish(
        CALL(error, hpss_Open, (TEXT(path), flags, 0, NULL, NULL, NULL)), error);
}

int32_t pah_create(const char *path, uint32_t mode, int64_t size,
                   uint32_t class_of_service, pah_error *error)
{
    hpss_cos_hints_t hints, chosen;
    hpss_cos_priorities_t priorities;

    memset(&hints, 0, sizeof(hints));
    memset(&chosen, 0, sizeof(chosen));
    memset(&priorities, 0, sizeof(priorities));
    if (size >= 0) {
        hints.MinFileSize = (u_signed64)size;
        hints.MaxFileSize = (u_signed64)size;
        /*
         * REQUIRED of the maximum refuses each class whose maximum is less, also where
         * it is not enforced (GridFTP-DSI-for-HPSS, stor.c). Beside a class that was
         * asked for, sizes only help to choose a size of segments: a guess.
         */
        priorities.MinFileSizePriority =
            class_of_service == 0 ? REQUIRED_PRIORITY : HIGHLY_DESIRED_PRIORITY;
        priorities.MaxFileSizePriority = HIGHLY_DESIRED_PRIORITY;
    }
    if (class_of_service != 0) {
        hints.COSId = class_of_service;
        priorities.COSIdPriority = REQUIRED_PRIORITY;
    }
    return (int32_t)finish(CALL(error, hpss_Open,
                                (TEXT(path), O_WRONLY | O_CREAT | O_EXCL, (mode_t)mode,
                                 &hints, &priorities, &chosen)),
                           error);
}

/* A count beyond what was asked for would send the caller out of the buffer. */
static int64_t finish_count(int64_t count, uint64_t size, pah_error *error)
{
    if (count > 0 && (uint64_t)count > size) {
        error->rc = (int32_t)LEAST(count, INT32_MAX);
        return refuse(error, EIO);
    }
    return finish(count, error);
}

int64_t pah_read(int32_t fd, void *buffer, uint64_t size, pah_error *error)
{
    size_t length = LEAST(size, LARGEST_TRANSFER);

    return finish_count(CALL(error, hpss_Read, (fd, buffer, length)), length, error);
}

int64_t pah_write(int32_t fd, const void *buffer, uint64_t size, pah_error *error)
{
    size_t length = LEAST(size, LARGEST_TRANSFER);

    return finish_count(CALL(error, hpss_Write, (fd, (void *)TEXT(buffer), length)),
                        length, error);
}

int32_t pah_seek(int32_t fd, uint64_t offset, pah_error *error)
{
    u_signed64 reached = 0;
    int32_t result = finish_zero(
        CALL(error, hpss_SetFileOffset,
             (fd, offset, SEEK_SET, HPSS_SET_OFFSET_FORWARD, &reached)),
        error);

    if (result == 0 && reached != offset)
        return refuse(error, EIO);
    return result;
}

int32_t pah_fsync(int32_t fd, pah_error *error)
{
    return finish_zero(CALL(error, hpss_Fsync, (fd)), error);
}

int32_t pah_close(int32_t fd, pah_error *error)
{
    return finish_zero(CALL(error, hpss_Close, (fd)), error);
}

/* --- recalls -------------------------------------------------------------------- */

int32_t pah_resolve(const char *host, const char *port, pah_callback *callback,
                    pah_error *error)
{
    memset(callback, 0, sizeof(*callback));
#ifdef PAH_HAVE_NET_ADDRESS
    hpss_sockaddr_t address;
    char text[HPSS_NET_MAXBUF] = "";
    int rc;

    memset(&address, 0, sizeof(address));
    rc = CALL(error, hpss_net_getaddrinfo,
              (TEXT(host), TEXT(port), 0, HPSS_IPPROTO_TCP, &address, text,
               sizeof(text)));
    if (rc != 0) {
        error->local_errno = errno;
        /* A number of getaddrinfo(3), of which -2 is not ENOENT. */
        error->rc = rc;
        put_text(error->name, sizeof(error->name), text, sizeof(text));
        return refuse(error, EADDRNOTAVAIL);
    }
    memcpy(callback->address, &address, sizeof(address));
    callback->size = sizeof(address);
    return 0;
#else
    (void)host;
    (void)port;
    return refuse(error, ENOSYS);
#endif
}

OPTIONAL int32_t state_of_stage(int32_t status)
{
    if (status == HPSS_STAGE_STATUS_QUEUED)
        return PAH_STAGE_QUEUED;
    return status == HPSS_STAGE_STATUS_UNKNOWN ? PAH_STAGE_UNKNOWN : PAH_STAGE_ACTIVE;
}

/* Take back a handle that pah_get_status gave. */
OPTIONAL int get_handle(const pah_bitfile *bitfile, bitfile_handle *handle)
{
    if (bitfile->handle_size != sizeof(*handle))
        return 0;
    memcpy(handle, bitfile->handle, sizeof(*handle));
    return 1;
}

/* No address, as with callback NULL or empty, turns monitors of HPSS red. */
static void set_address(bfs_callback_addr_t *address, const uint8_t *request_id,
                        const pah_callback *callback)
{
    memset(address, 0, sizeof(*address));
    set_request_id(&address->id, request_id);
    if (callback != NULL && callback->size == sizeof(address->sockaddr))
        memcpy(&address->sockaddr, callback->address, sizeof(address->sockaddr));
}

int32_t pah_stage_state(const pah_bitfile *bitfile, const uint8_t *request_id,
                        pah_error *error)
{
#if defined(PAH_HAVE_ASYNC_STATUS) || defined(PAH_HAVE_ASYNCH_STATUS)
    bitfile_handle handle;
    hpss_reqid_t request;
    int32_t result;

    begin(error, "hpss_GetAsyncStatus");
    set_request_id(&request, request_id);
    if (!get_handle(bitfile, &handle))
        return refuse(error, EINVAL);
#ifdef PAH_HAVE_ASYNC_STATUS
    int32_t status = HPSS_STAGE_STATUS_UNKNOWN;
    result = finish_zero(
        CALL(error, hpss_GetAsyncStatus, (request, &handle, &status)), error);
#else
    signed32 status = HPSS_STAGE_STATUS_UNKNOWN;
    result = finish_zero(CALL(error, hpss_GetAsynchStatus,
                              ((signed32)request, &handle, &status)),
                         error);
#endif
    return result == 0 ? state_of_stage((int32_t)status) : result;
#else
    (void)bitfile;
    (void)request_id;
    begin(error, "hpss_GetAsyncStatus");
    return refuse(error, ENOSYS);
#endif
}

int32_t pah_stage(const char *path, uint64_t size, const uint8_t *request_id,
                  const pah_callback *callback, pah_error *error)
{
    bfs_callback_addr_t address;
    bitfile_handle handle;
    hpss_reqid_t request;

    set_address(&address, request_id, callback);
    set_request_id(&request, request_id);
    memset(&handle, 0, sizeof(handle));
    return finish_zero(CALL(error, hpss_StageCallBack,
                            (TEXT(path), 0, size, 0, &address, BFS_STAGE_ALL, &request,
                             &handle)),
                       error);
}

#ifdef PAH_HAVE_BATCH

int32_t pah_batch_state(uint32_t count, const pah_bitfile *bitfiles,
                        const uint8_t *request_id, int32_t *states, pah_error *error)
{
    bitfile_handle handles[PAH_BATCH];
    hpss_stage_bitfile_list_t list;
    hpss_stage_batch_status_t status;
    hpss_reqid_t request;
    uint32_t each;
    int32_t result;

    begin(error, "hpss_GetBatchAsynchStatus");
    if (count > PAH_BATCH)
        return refuse(error, EINVAL);
    for (each = 0; each < count; each++)
        if (!get_handle(&bitfiles[each], &handles[each]))
            return refuse(error, EINVAL);
    memset(&list, 0, sizeof(list));
    memset(&status, 0, sizeof(status));
    list.BFList.BFList_len = count;
    list.BFList.BFList_val = handles;
    set_request_id(&request, request_id);
    result = finish_zero(CALL(error, hpss_GetBatchAsynchStatus,
                              (request, &list, HPSS_STAGE_STATUS_BFS_SS, &status)),
                         error);
    if (result == 0 && status.StatusList.StatusList_len < count)
        result = refuse(error, EIO);
    /*
     * That the answers stand in the order of the list is a guess. 0 was seen for a
     * stage that is not, 2 for one in progress (GridFTP-DSI-for-HPSS, stage.c); what
     * the numbers of single stages are is not public, so they are not looked for.
     */
    for (each = 0; result == 0 && each < count; each++)
        states[each] = status.StatusList.StatusList_val[each].StageStatus == 0
                           ? PAH_STAGE_UNKNOWN
                           : PAH_STAGE_ACTIVE;
    if (status.StatusList.StatusList_val != NULL)
        API_StageStatusFree(&status);
    return result;
}

int32_t pah_batch_stage(uint32_t count, const pah_bitfile *bitfiles,
                        const uint8_t *request_id, const pah_callback *callback,
                        int32_t *codes, pah_error *error)
{
    bitfile_handle handle;
    hpss_stage_batch_t batch;
    hpss_stage_bitfile_list_t list;
    hpss_stage_batch_status_t status;
    bfs_callback_addr_t address;
    hpss_reqid_t request;
    uint32_t each;
    int32_t result;

    memset(&batch, 0, sizeof(batch));
    memset(&list, 0, sizeof(list));
    memset(&status, 0, sizeof(status));
    set_address(&address, request_id, callback);
    /*
     * Given back by HPSS. That a state can be asked for by the id in the address, which
     * we can compute again, is a guess: the one public caller has one name for both.
     */
    set_request_id(&request, request_id);

    begin(error, "API_StageBatchInit");
    if (count == 0 || count > PAH_BATCH)
        return refuse(error, EINVAL);
    result =
        finish_zero(CALL(error, API_StageBatchInit, (&batch, (int)count)), error);
    if (result != 0)
        return result;
    for (each = 0; result == 0 && each < count; each++) {
        begin(error, "API_StageBatchInsertBFObj");
        result = get_handle(&bitfiles[each], &handle)
                     ? finish_zero(API_StageBatchInsertBFObj(&batch, (int)each, &handle,
                                                             0, 0, 0, 0, BFS_STAGE_ALL),
                                   error)
                     : refuse(error, EINVAL);
    }
    if (result == 0)
        result = finish_zero(CALL(error, hpss_StageBatchCallBack,
                                  (&batch, &address, &request, &list, &status)),
                             error);
    for (each = 0; result == 0 && each < count; each++) {
        int64_t said = each < status.StatusList.StatusList_len
                           ? status.StatusList.StatusList_val[each].StageStatus
                           : 0;

        codes[each] = said < 0 ? normalise(said) : 0;
    }
    API_StageBatchFree(&batch);
    free(list.BFList.BFList_val);
    if (status.StatusList.StatusList_val != NULL)
        API_StageStatusFree(&status);
    return result;
}

#else

int32_t pah_batch_state(uint32_t count, const pah_bitfile *bitfiles,
                        const uint8_t *request_id, int32_t *states, pah_error *error)
{
    (void)count, (void)bitfiles, (void)request_id, (void)states;
    begin(error, "hpss_GetBatchAsynchStatus");
    return refuse(error, ENOSYS);
}

int32_t pah_batch_stage(uint32_t count, const pah_bitfile *bitfiles,
                        const uint8_t *request_id, const pah_callback *callback,
                        int32_t *codes, pah_error *error)
{
    (void)count, (void)bitfiles, (void)request_id, (void)callback, (void)codes;
    begin(error, "hpss_StageBatchCallBack");
    return refuse(error, ENOSYS);
}

#endif

/* --- trials --------------------------------------------------------------------- */

#if defined(PAH_HAVE_MIGRATE) || defined(PAH_HAVE_PURGE)
/* Open a file so that its levels may be changed: for writing, and without a recall. */
static int32_t open_levels(const char *path, pah_error *error)
{
    return (int32_t)finish(CALL(error, hpss_Open, (TEXT(path), O_RDWR | O_NONBLOCK, 0,
                                                   NULL, NULL, NULL)),
                           error);
}

/* Close it, and say what failed first. */
static int32_t close_levels(int32_t fd, int32_t result, pah_error *error)
{
    pah_error later;
    int32_t closed = pah_close(fd, &later);

    if (result == 0 && closed != 0)
        *error = later;
    return result != 0 ? result : closed;
}
#endif

int32_t pah_migrate(const char *path, pah_error *error)
{
#ifdef PAH_HAVE_MIGRATE
    u_signed64 done = 0;
    int32_t result, fd = open_levels(path, error);

    if (fd < 0)
        return fd;
    result = finish_zero(CALL(error, hpss_Migrate, (fd, 0, HPSS_MIGRATE_FORCE, &done)),
                         error);
    return close_levels(fd, result, error);
#else
    (void)path;
    begin(error, "hpss_Migrate");
    return refuse(error, ENOSYS);
#endif
}

int32_t pah_purge(const char *path, pah_error *error)
{
#ifdef PAH_HAVE_PURGE
    u_signed64 done = 0;
    int32_t result, fd = open_levels(path, error);

    if (fd < 0)
        return fd;
    result = finish_zero(CALL(error, hpss_Purge, (fd, 0, 0, 0, BFS_PURGE_ALL, &done)),
                         error);
    return close_levels(fd, result, error);
#else
    (void)path;
    begin(error, "hpss_Purge");
    return refuse(error, ENOSYS);
#endif
}

/* --- user-defined attributes ---------------------------------------------------- */

static void free_values(char **values, uint32_t count)
{
    uint32_t each;

    for (each = 0; values != NULL && each < count; each++)
        free(values[each]);
    free(values);
}

int32_t pah_set_attributes(const char *path, uint32_t count, const char *const *keys,
                           const char *const *values, pah_error *error)
{
    hpss_userattr_t *pairs = calloc((size_t)count + 1, sizeof(*pairs));
    hpss_userattr_list_t list;
    uint32_t each;
    int32_t result = 0;

    begin(error, "hpss_UserAttrSetAttrs");
    memset(&list, 0, sizeof(list));
    list.len = (int)count;
    list.Pair = pairs;
    if (pairs == NULL)
        result = refuse(error, ENOMEM);
    for (each = 0; result == 0 && each < count; each++) {
        /*
         * HPSS keeps values in XML; whether it or its caller has to escape markup is
         * not known, so none is sent. Nor is what has no room beside the XML.
         */
        if (strpbrk(values[each], "<&") != NULL)
            result = refuse(error, EINVAL);
        else if (strlen(values[each]) + 256 > HPSS_XML_SIZE)
            result = refuse(error, EMSGSIZE);
        pairs[each].Key = TEXT(keys[each]);
        pairs[each].Value = TEXT(values[each]);
    }
    if (result == 0)
        result = finish_zero(
            CALL(error, hpss_UserAttrSetAttrs, (TEXT(path), &list, NULL)), error);
    free(pairs);
    return result;
}

int32_t pah_get_attributes(const char *path, uint32_t count, const char *const *keys,
                           char *values, uint32_t value_size, pah_error *error)
{
    hpss_userattr_t *pairs = calloc((size_t)count + 1, sizeof(*pairs));
    char **texts = calloc((size_t)count + 1, sizeof(*texts));
    hpss_userattr_list_t list;
    uint32_t each;
    int32_t result = 0;

    begin(error, "hpss_UserAttrGetAttrs");
    memset(values, 0, (size_t)count * value_size);
    memset(&list, 0, sizeof(list));
    list.len = (int)count;
    list.Pair = pairs;
    if (pairs == NULL || texts == NULL)
        result = refuse(error, ENOMEM);
    for (each = 0; result == 0 && each < count; each++) {
        /* The library writes up to HPSS_XML_SIZE bytes into room of the caller's. */
        texts[each] = calloc(1, HPSS_XML_SIZE + 1);
        if (texts[each] == NULL)
            result = refuse(error, ENOMEM);
        pairs[each].Key = TEXT(keys[each]);
        pairs[each].Value = texts[each];
    }
    if (result == 0)
#ifdef PAH_HAVE_SIZED_GETATTRS
        result = finish_zero(
            CALL(error, hpss_UserAttrGetAttrs,
                 (TEXT(path), &list, UDA_API_VALUE, HPSS_XML_SIZE - 1)),
            error);
#else
        result = finish_zero(
            CALL(error, hpss_UserAttrGetAttrs, (TEXT(path), &list, UDA_API_VALUE)),
            error);
#endif
    for (each = 0; result == 0 && each < count; each++) {
        char *text = texts[each][0] == '\0' ? NULL
                                            : hpss_ChompXMLHeader(texts[each], NULL);

        /* Not there, or nothing inside the XML: empty. Entities stay as they are. */
        if (text != NULL && strlen(text) >= value_size)
            result = refuse(error, ERANGE);
        else
            put_text(values + (size_t)each * value_size, value_size, text, SIZE_MAX);
        free(text);
    }
    free_values(texts, count);
    free(pairs);
    return result;
}
