/*
 * All that crosses between Python and C: read by cffi as it stands, included by _shim.c.
 *
 * Every call returns a count, a descriptor or 0, or minus a Linux errno, and then
 * fills the error record, which is its last argument and never NULL. Only fixed-width
 * types cross; paths are absolute, in UTF-8. Whatever HPSS allocates is freed in C.
 */

/* Levels of a hierarchy: HPSS_MAX_STORAGE_LEVELS, the same in each public source. */
#define PAH_LEVELS 5
/* Files in one batch of stages: the limit seen in DSI's tests. */
#define PAH_BATCH 100
/* What a batch says of a file that it has begun with: HPSS_ENOTALLMOVED. */
#define PAH_NOT_ALL_MOVED 1406

/* Bits of a level: what is not set says nothing. */
#define PAH_DISK 1
#define PAH_TAPE 2
#define PAH_DATA 4

/* Kinds of objects. A second name of a file is a file. */
#define PAH_FILE 1
#define PAH_DIRECTORY 2
#define PAH_SYMLINK 3
#define PAH_OTHER 4

/* States of a stage request. */
#define PAH_STAGE_UNKNOWN 0
#define PAH_STAGE_QUEUED 1
#define PAH_STAGE_ACTIVE 2

/* Why a call failed, read in the same C call that failed. */
typedef struct {
    int32_t code;        /* the Linux errno that was meant, or PAH_NOT_ALL_MOVED */
    int32_t rc;          /* what the call returned */
    int32_t local_errno; /* errno behind it: a decoy for all but stdio calls */
    int32_t hpss_errno;  /* hpss_GetLastHPSSErrno's, numbered as HPSS does */
    char name[48];       /* of the HPSS number, by hpss_ErrnoName */
    char function[64];   /* the call of the Client API that failed */
    char request_id[40];
} pah_error;

/* What the shim was compiled against, and what it is linked with. */
typedef struct {
    int32_t major, minor;     /* of the headers */
    int32_t simulator;        /* 1: the library is the simulator */
    int32_t has_stage_status; /* hpss_GetAsyncStatus or hpss_GetAsynchStatus */
    int32_t has_batch;
    int32_t has_ping;
} pah_build;

/* Which file, whatever its names: the handle as HPSS gave it, and its id in hex. */
typedef struct {
    uint8_t handle[96];
    uint32_t handle_size;
    char id[72];
} pah_bitfile;

typedef struct {
    uint64_t bytes;
    uint32_t flags;           /* PAH_DISK, PAH_TAPE, PAH_DATA; 0: not used */
    int32_t position;         /* on the first cartridge; -1: none */
    uint64_t position_offset; /* bytes behind it */
    char cartridge[32];       /* the first one's label; "": none */
} pah_level;

/* hpss_FileGetXAttributes: one call to the core server. */
typedef struct {
    uint64_t size;
    int64_t mtime_s, ctime_s;
    int32_t kind;
    uint32_t class_of_service;
    pah_bitfile bitfile;
    pah_level levels[PAH_LEVELS];
} pah_status;

/* hpss_Lstat: what the above does not tell. */
typedef struct {
    uint64_t size;
    int64_t mtime_s;
    int32_t kind;
    uint32_t mode;
    uint32_t links;
} pah_stat;

/* Where HPSS calls back when a stage is done. */
typedef struct {
    uint8_t address[256]; /* HPSS's structure round a sockaddr_storage of 128 */
    uint32_t size;
} pah_callback;

void pah_describe(pah_build *build);
int32_t pah_login(const char *principal, const char *mechanism, const char *keytab,
                  pah_error *error);
void pah_logout(void);
int32_t pah_level_text(char *text, uint32_t size, pah_error *error);
int32_t pah_ping(const char *site, pah_error *error);

int32_t pah_get_status(const char *path, pah_status *status, pah_error *error);
int32_t pah_lstat(const char *path, pah_stat *status, pah_error *error);
int32_t pah_utime(const char *path, int64_t mtime_s, pah_error *error);
int32_t pah_chmod(const char *path, uint32_t mode, pah_error *error);
int32_t pah_rename(const char *old_path, const char *new_path, pah_error *error);
int32_t pah_link(const char *old_path, const char *new_path, pah_error *error);
int32_t pah_unlink(const char *path, pah_error *error);
int32_t pah_mkdir(const char *path, uint32_t mode, pah_error *error);
int32_t pah_rmdir(const char *path, pah_error *error);
int32_t pah_opendir(const char *path, pah_error *error);
/* 1: a name was put; 0: there are no more. */
int32_t pah_readdir(int32_t directory, char *name, uint32_t size, pah_error *error);
int32_t pah_closedir(int32_t directory, pah_error *error);

/* recall 0: with O_NONBLOCK, which stages nothing; 1: may wait for a tape. */
int32_t pah_open(const char *path, int32_t recall, pah_error *error);
/* A new file, or -EEXIST. size -1: not known; class_of_service 0: HPSS chooses. */
int32_t pah_create(const char *path, uint32_t mode, int64_t size,
                   uint32_t class_of_service, pah_error *error);
int64_t pah_read(int32_t fd, void *buffer, uint64_t size, pah_error *error);
int64_t pah_write(int32_t fd, const void *buffer, uint64_t size, pah_error *error);
int32_t pah_seek(int32_t fd, uint64_t offset, pah_error *error);
int32_t pah_fsync(int32_t fd, pah_error *error);
int32_t pah_close(int32_t fd, pah_error *error);

/* request_id: 16 bytes, of which releases with short ones take the first 4. */
int32_t pah_resolve(const char *host, const char *port, pah_callback *callback,
                    pah_error *error);
int32_t pah_stage_state(const pah_bitfile *bitfile, const uint8_t *request_id,
                        pah_error *error);
int32_t pah_stage(const char *path, uint64_t size, const uint8_t *request_id,
                  const pah_callback *callback, pah_error *error);
/* states: one PAH_STAGE_... for each file. -ENOSYS where there are no batches. */
int32_t pah_batch_state(uint32_t count, const pah_bitfile *bitfiles,
                        const uint8_t *request_id, int32_t *states, pah_error *error);
/* codes: for each file 0 or the number, as in pah_error, that was said of it. */
int32_t pah_batch_stage(uint32_t count, const pah_bitfile *bitfiles,
                        const uint8_t *request_id, const pah_callback *callback,
                        int32_t *codes, pah_error *error);

/*
 * For trials, which cannot wait for a policy: down from the first level, and off it.
 * -ENOSYS where a release has no such call; the file must be one we may write to.
 */
int32_t pah_migrate(const char *path, pah_error *error);
int32_t pah_purge(const char *path, pah_error *error);

int32_t pah_set_attributes(const char *path, uint32_t count, const char *const *keys,
                           const char *const *values, pah_error *error);
/* values: count fields of value_size bytes, each ended by a NUL. -ENOENT: none. */
int32_t pah_get_attributes(const char *path, uint32_t count, const char *const *keys,
                           char *values, uint32_t value_size, pah_error *error);
