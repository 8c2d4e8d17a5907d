/*
 * What the parts of the simulated HPSS share: its state, its entry and exit, its text.
 *
 * The whole state is one file, mapped MAP_SHARED by every process (STATE/tables), and
 * the bytes of the files in STATE/data. One lock guards it (sim_lock): a mutex among
 * the threads of this copy of the library, a flock on a descriptor of its own among
 * copies and processes, which the kernel frees when a holder dies. A holder that dies
 * in the middle leaves a journal of what it was changing, and the next one undoes it:
 * hence sim_touch() before each change of a record.
 *
 * Rules: nothing blocks, sleeps or moves file contents with the lock held. What is read
 * or written without the lock is an atomic. "Fact n" is section n of the project's facts
 * on HPSS; what they do not say and we had to choose is marked "guess".
 */
#ifndef SIM_H
#define SIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "tape.h"

/* Only the API is exported: two copies of the library in one process must not meet. */
#pragma GCC visibility push(hidden)

#define SIM_MAGIC 0x48505353u
#define SIM_LAYOUT 1u
#define SIM_FILES (1u << 17)
#define SIM_ENTRIES (1u << 17)
#define SIM_BUCKETS (1u << 17)
#define SIM_OPENS (1u << 13)
#define SIM_PROCESSES 1024u
#define SIM_TARGETS 1024u
#define SIM_RULES 64u
#define SIM_VIOLATIONS 64u
#define SIM_BATCHES 4096u
#define SIM_EXTENTS 8u
#define SIM_NAME 256u
#define SIM_PATH 1024u
#define SIM_JOURNAL (4u << 20)
#define SIM_NONE UINT32_MAX
/* The user that a process is after its login; guess. */
#define SIM_UID 3001u
/* errno after every call: fact 2.1, errno is not a channel; here it is a lie. */
#define SIM_DECOY 54

/*
 * Entry points: enumerator SIM_<first>, C name, what it costs (fact 6, 8.10): CORE one
 * call to the core server, MOVER one to a mover, LOCAL none but needs a login as all
 * that initialises the API does (fact 2.7), PURE neither.
 */
#define SIM_FUNCTIONS(X)                                        \
    X(SetLoginCred, hpss_SetLoginCred, PURE)                    \
    X(PurgeLoginCred, hpss_PurgeLoginCred, PURE)                \
    X(ClientAPIReset, hpss_ClientAPIReset, PURE)                \
    X(AuthnMechTypeFromString, hpss_AuthnMechTypeFromString, PURE) \
    X(ParseAuthString, hpss_ParseAuthString, PURE)              \
    X(LoadDefaultThreadState, hpss_LoadDefaultThreadState, LOCAL) \
    X(LoadThreadState, hpss_LoadThreadState, LOCAL)             \
    X(GetThreadUcred, hpss_GetThreadUcred, LOCAL)               \
    X(LookupRootCS, hpss_LookupRootCS, CORE)                    \
    X(PingCore, hpss_PingCore, CORE)                            \
    X(GetConfiguration, hpss_GetConfiguration, PURE)            \
    X(SetConfiguration, hpss_SetConfiguration, PURE)            \
    X(BuildLevelString, hpss_BuildLevelString, PURE)            \
    X(GetLastHPSSErrno, hpss_GetLastHPSSErrno, LOCAL)           \
    X(ClearLastHPSSErrno, hpss_ClearLastHPSSErrno, LOCAL)       \
    X(ErrnoName, hpss_ErrnoName, PURE)                          \
    X(ErrnoString, hpss_ErrnoString, PURE)                      \
    X(Open, hpss_Open, CORE)                                    \
    X(Close, hpss_Close, CORE)                                  \
    X(Read, hpss_Read, MOVER)                                   \
    X(Write, hpss_Write, MOVER)                                 \
    X(Lseek, hpss_Lseek, LOCAL)                                 \
    X(SetFileOffset, hpss_SetFileOffset, LOCAL)                 \
    X(Fsync, hpss_Fsync, CORE)                                  \
    X(Truncate, hpss_Truncate, CORE)                            \
    X(Ftruncate, hpss_Ftruncate, CORE)                          \
    X(Fpreallocate, hpss_Fpreallocate, CORE)                    \
    X(SetCOSByHints, hpss_SetCOSByHints, CORE)                  \
    X(FileSetCOS, hpss_FileSetCOS, CORE)                        \
    X(Fopen, hpss_Fopen, CORE)                                  \
    X(Fread, hpss_Fread, MOVER)                                 \
    X(Fwrite, hpss_Fwrite, MOVER)                               \
    X(Fseek, hpss_Fseek, LOCAL)                                 \
    X(Ftell, hpss_Ftell, LOCAL)                                 \
    X(Fflush, hpss_Fflush, MOVER)                               \
    X(Fclose, hpss_Fclose, CORE)                                \
    X(Stat, hpss_Stat, CORE)                                    \
    X(Lstat, hpss_Lstat, CORE)                                  \
    X(Fstat, hpss_Fstat, CORE)                                  \
    X(Utime, hpss_Utime, CORE)                                  \
    X(Chmod, hpss_Chmod, CORE)                                  \
    X(Chown, hpss_Chown, CORE)                                  \
    X(Rename, hpss_Rename, CORE)                                \
    X(Unlink, hpss_Unlink, CORE)                                \
    X(Mkdir, hpss_Mkdir, CORE)                                  \
    X(Rmdir, hpss_Rmdir, CORE)                                  \
    X(Link, hpss_Link, CORE)                                    \
    X(Symlink, hpss_Symlink, CORE)                              \
    X(Readlink, hpss_Readlink, CORE)                            \
    X(Access, hpss_Access, CORE)                                \
    X(Umask, hpss_Umask, LOCAL)                                 \
    X(Opendir, hpss_Opendir, CORE)                              \
    X(Readdir, hpss_Readdir, CORE)                              \
    X(Closedir, hpss_Closedir, CORE)                            \
    X(RequestIDtoString, hpss_RequestIDtoString, PURE)          \
    X(Getenv, hpss_Getenv, PURE)                                \
    X(UserAttrSetAttrs, hpss_UserAttrSetAttrs, CORE)            \
    X(UserAttrGetAttrs, hpss_UserAttrGetAttrs, CORE)            \
    X(UserAttrListAttrs, hpss_UserAttrListAttrs, CORE)          \
    X(UserAttrDeleteAttrs, hpss_UserAttrDeleteAttrs, CORE)      \
    X(ChompXMLHeader, hpss_ChompXMLHeader, PURE)                \
    X(net_getaddrinfo, hpss_net_getaddrinfo, PURE)              \
    X(ConvertTimeToPosixTime, API_ConvertTimeToPosixTime, PURE) \
    X(ConvertModeToPosixMode, API_ConvertModeToPosixMode, PURE) \
    X(FileGetAttributes, hpss_FileGetAttributes, CORE)          \
    X(FileGetXAttributes, hpss_FileGetXAttributes, CORE)        \
    X(Stage, hpss_Stage, CORE)                                  \
    X(StageCallBack, hpss_StageCallBack, CORE)                  \
    X(GetAsyncStatus, hpss_GetAsyncStatus, CORE)                \
    X(GetAsynchStatus, hpss_GetAsynchStatus, CORE)              \
    X(StageBatchCallBack, hpss_StageBatchCallBack, CORE)        \
    X(GetBatchAsynchStatus, hpss_GetBatchAsynchStatus, CORE)    \
    X(StageBatchInit, API_StageBatchInit, PURE)                 \
    X(StageBatchInsertBFObj, API_StageBatchInsertBFObj, PURE)   \
    X(StageBatchFree, API_StageBatchFree, PURE)                 \
    X(StageStatusFree, API_StageStatusFree, PURE)               \
    X(Purge, hpss_Purge, CORE)                                  \
    X(Migrate, hpss_Migrate, CORE)                              \
    X(PurgeLock, hpss_PurgeLock, CORE)

enum sim_cost { SIM_CORE, SIM_MOVER, SIM_LOCAL, SIM_PURE };

#define SIM_X(short_name, name, cost) SIM_##short_name,
enum sim_function { SIM_FUNCTIONS(SIM_X) SIM_FUNCTION_COUNT };
#undef SIM_X

/*
 * Knobs: numbers, read without the lock (sim_knob). Text ones are in sim_world.
 *  prelogin 0 calls before a login fail, 1 they hang   strict 1: a violation aborts
 *  short_reads, short_writes 1: every transfer is cut   delay_ms of each core call
 *  rename_replaces 0: EEXIST instead   mode_at_create 0: ignored, it is 0600
 *  open_sets_umask 0: the umask is not applied   down 1: nobody answers
 *  full 1: no space   expired 1: the login is no longer taken
 *  read_error_at, write_error_at: byte of every file where EIO, ENOSPC begins (-1: off)
 *  close_frees 0: a hpss_Close that fails leaves the descriptor open (which: a guess)
 *  library_retries 1: EBUSY comes after the retries of api_config_t only (fact 2.6)
 *  lost_moves 1: a hpss_Read whose reply is lost has moved the position (a guess)
 *  batch_by_id 1: hpss_GetBatchAsynchStatus looks by request id and bitfile, as DSI
 *  passes both; 0: by bitfile (which: a guess)
 *  io_ms, io_rate: cost of each transfer, and bytes a second (0: no limit)
 *  drives, mount_s, seek_s (end to end), rate (bytes/s), tor, cartridge_files (where
 *  migrate begins the next cartridge, and how many positions are end to end): tapes
 */
#define SIM_KNOBS(X)        \
    X(prelogin, 0)          \
    X(strict, 0)            \
    X(short_reads, 0)       \
    X(short_writes, 0)      \
    X(delay_ms, 0)          \
    X(rename_replaces, 1)   \
    X(mode_at_create, 1)    \
    X(open_sets_umask, 1)   \
    X(down, 0)              \
    X(full, 0)              \
    X(expired, 0)           \
    X(tor, 0)               \
    X(drives, 2)            \
    X(mount_s, 2)           \
    X(seek_s, 2)            \
    X(rate, 400e6)          \
    X(cartridge_files, 100) \
    X(ping_skew_s, 0)       \
    X(fds, 64)              \
    X(default_cos, 1)       \
    X(read_error_at, -1)    \
    X(write_error_at, -1)   \
    X(io_ms, 0)             \
    X(close_frees, 1)       \
    X(io_rate, 0)           \
    X(library_retries, 0)   \
    X(batch_by_id, 0)       \
    X(lost_moves, 0)

#define SIM_X(name, value) SIM_KNOB_##name,
enum sim_knob_name { SIM_KNOBS(SIM_X) SIM_KNOB_COUNT };
#undef SIM_X

enum sim_kind { SIM_FREE, SIM_FILE, SIM_DIRECTORY, SIM_SYMLINK };

typedef struct {
    uint64_t offset, length;
} sim_extent;

/* An object of the name space (an inode): for files, the bitfile. */
typedef struct {
    uint32_t kind;
    uint32_t mode;      /* permission bits */
    uint32_t uid, gid;
    uint32_t links;     /* names */
    uint32_t opens;     /* open records of all processes; the bytes live as long */
    uint32_t cos;       /* id of the class of service */
    uint32_t family;
    uint32_t purge_locked;
    uint32_t attributes; /* number of user-defined ones: STATE/data/<id>.uda */
    uint32_t target;    /* of a symbolic link: index in targets */
    uint32_t first_child, last_child; /* of a directory: entries */
    uint32_t next_free; /* while it is SIM_FREE */
    uint32_t children;
    uint32_t extent_count;
    uint64_t id;        /* never used twice, not even after a format */
    uint64_t size;
    uint32_t atime_s, mtime_s, ctime_s;        /* 32-bit: fact 1.2, timestamp_sec_t */
    uint32_t created_s, written_s, read_s;
    uint32_t read_count, write_count;
    sim_extent extents[SIM_EXTENTS]; /* where data is, ascending; between them holes */
    sim_level levels[SIM_LEVELS];
} sim_file;

/* A name: an entry of a directory. */
typedef struct {
    uint32_t file;      /* index; SIM_NONE: this record is free */
    uint32_t parent;    /* index of the directory's file */
    uint32_t next_in_bucket;
    uint32_t previous, next; /* in the directory; next also chains free ones */
    uint32_t hash;
    uint32_t hard_link; /* made by hpss_Link: its Type is HARD_LINK (fact 8.13) */
    char name[SIM_NAME];
} sim_entry;

/* A process that has logged in; it holds an OFD lock on byte SIM_PROCESS_BYTE + index. */
typedef struct {
    uint32_t used;
    int32_t pid;
} sim_process;

/* A file opened by a process, so that a killed one's can be closed for it. */
typedef struct {
    uint32_t used;
    uint32_t process;
    uint32_t file;
    uint32_t next_free;
} sim_open_record;

enum sim_action {
    SIM_ACT_FAIL,      /* answer `code` before acting */
    SIM_ACT_LOST,      /* act, then answer `code` */
    SIM_ACT_HANG,
    SIM_ACT_KILL,
    SIM_ACT_LOST_KILL,
    SIM_ACT_SHORT,
    SIM_ACT_DROP       /* as FAIL, and so for all calls of the process until it logs in */
};

typedef struct {
    uint32_t used;
    uint32_t id;        /* never used twice */
    int32_t function;   /* -1: all */
    uint32_t action;
    int32_t code;       /* negative */
    uint32_t hpss_only; /* code is HPSS's own number, returned untranslated */
    uint64_t first, last; /* matches, from 1 */
    uint64_t seen;
    int64_t at;         /* byte where it bites (Read, Write); -1: the whole call */
    char glob[SIM_PATH];
    char text[SIM_PATH + 128];
} sim_rule;

typedef struct {
    atomic_ullong calls[SIM_FUNCTION_COUNT];
    atomic_ullong core, mover, local;
    atomic_ullong logins, duplicate_stages, monitor_red, gated;
    atomic_uint batch_count;
    uint32_t batches[SIM_BATCHES]; /* files of each batch call, with the lock */
    uint32_t violation_count;      /* all; the first SIM_VIOLATIONS are kept */
    char violations[SIM_VIOLATIONS][160];
} sim_counters;

/* The file STATE/tables. */
typedef struct {
    atomic_uint magic;      /* 0 while it is being formatted */
    uint32_t layout;
    uint64_t size;
    atomic_uint generation; /* of formats: older descriptors are stale */
    atomic_uint rule_count, rule_generation;
    atomic_uint journal_used;
    uint32_t journal_overflow;
    /* simulated = simulated_base + (CLOCK_REALTIME - real_base) * speed */
    double real_base, simulated_base, speed;
    uint64_t next_file_id;
    uint32_t next_rule_id;
    uint32_t files_used, free_file;
    uint32_t entries_used, free_entry;
    uint32_t opens_used, free_open, open_files;
    uint32_t root; /* index of the directory "/" */
    char user[64], refused_user[64], mechanism[16];
    _Atomic double knobs[SIM_KNOB_COUNT];
    sim_counters counters;
    sim_rule rules[SIM_RULES];
    sim_tape tape;
    sim_process processes[SIM_PROCESSES];
    sim_open_record opens[SIM_OPENS];
    char targets[SIM_TARGETS][SIM_PATH]; /* "": free */
    uint32_t buckets[SIM_BUCKETS];       /* entry + 1 */
    sim_entry entries[SIM_ENTRIES];
    sim_file files[SIM_FILES];
    uint8_t journal[SIM_JOURNAL];
} sim_world;

/* state.c: one per directory in this copy of the library; never freed. */
typedef struct sim_state {
    struct sim_state *next;
    sim_world *world;
    int fd;                 /* of STATE/tables, our own open file description */
    int data_fd;            /* of STATE/data */
    uint64_t *doomed;       /* files whose bytes go at the next sim_unlock */
    size_t doomed_count, doomed_size;
    pthread_mutex_t mutex;
    char directory[PATH_MAX];
} sim_state;

/* PACIFICA_HPSS_SIM's state; NULL: not set, or not formatted (said once on stderr). */
sim_state *sim_api(void);
/* Does the variable name another state by now? A login looks for it. */
bool sim_api_moved(void);
void sim_api_forget(void);
/* 0 or -errno; make: the directory and an empty table file are made if needed. */
int sim_state_open(const char *directory, bool make, sim_state **state);
sim_world *sim_lock(sim_state *state);
void sim_unlock(sim_state *state);
/* Call it with the lock, before a record of the state is changed. */
void sim_touch(sim_state *state, void *record, size_t size);
/* All is consistent now: what was touched so far stays (bulk commands call it). */
void sim_checkpoint(sim_state *state);
/* Closes what killed processes had open. With the lock. */
void sim_reap(sim_state *state);
int sim_format(sim_state *state, int fds);

static inline double sim_knob(const sim_world *world, enum sim_knob_name name)
{
    return atomic_load_explicit(&world->knobs[name], memory_order_relaxed);
}

#define SIM_TOUCH(state, lvalue) sim_touch(state, &(lvalue), sizeof(lvalue))
/* A slot for this process, which is freed when it dies. With the lock; -EAGAIN: none. */
int sim_process_begin(sim_state *state, uint32_t *process);
void sim_process_end(sim_state *state, uint32_t process);
/* This process has the file open from now on, and no more. With the lock. */
int sim_open_begin(sim_state *state, uint32_t process, uint32_t file, uint32_t *open);
void sim_open_end(sim_state *state, uint32_t open);
/* STATE/data/<id><suffix>. */
void sim_data_name(char name[static 32], uint64_t id, const char *suffix);
/* A new object; SIM_NONE: the tables are full. With the lock. */
uint32_t sim_file_new(sim_state *state, uint32_t kind, uint32_t mode);
/* Frees it if it has neither names nor opens. With the lock. */
void sim_file_drop(sim_state *state, uint32_t file);

/* clock.c: simulated seconds since 1970, with the lock. */
double sim_now(const sim_world *world);
uint32_t sim_now_s(const sim_world *world);
void sim_set_speed(sim_state *state, double speed);
void sim_advance(sim_state *state, double seconds);
/* Sleeps 1 ms: the poll of all that blocks. Without the lock. */
void sim_pause(void);
void sim_sleep(double seconds);

/* text.c: a growing text, the answer of a command. */
typedef struct {
    char *bytes;
    size_t used, size;
} sim_text;
void sim_print(sim_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sim_print_quoted(sim_text *text, const char *value); /* a JSON string */

/* An open file of this process. */
typedef struct {
    atomic_uint busy;     /* the thread number of who is in a call with it; 0: nobody */
    uint32_t used;        /* 0, or 1 file, 2 directory, 3 stream */
    uint32_t generation;  /* world's, at open */
    uint32_t file;
    uint64_t file_id;
    uint32_t open;        /* index in opens */
    int oflag;
    int host_fd;          /* of the bytes; -1: not yet opened */
    uint64_t offset;
    char path[SIM_PATH];
    char *names;          /* a directory's snapshot, see Readdir */
    size_t names_size, names_room, names_next;
} sim_descriptor;

/*
 * One call of the API. The pattern of every entry point:
 *
 *     sim_call call;
 *     int rc = sim_enter(&call, SIM_Chmod, path);
 *     if (rc < 0)
 *         return sim_leave(&call, rc);
 *     sim_world *world = sim_lock(call.state);
 *     ...
 *     sim_unlock(call.state);
 *     return sim_leave(&call, rc);
 *
 * sim_enter counts the call and applies login, fork, expiry, rules and the delay;
 * sim_leave applies lost replies, sets the thread's last error (HPSS numbering, fact
 * 2.2) and the decoy errno, and lets go of the descriptor. Both without the lock.
 */
typedef struct {
    sim_state *state;
    enum sim_function function;
    const char *path, *other;
    sim_descriptor *descriptor;
    int after;             /* what sim_leave answers instead; 0: the result */
    bool kill_after;
    bool halve;            /* rule "short" */
    bool drop;             /* rule "drop": the connection is gone */
    bool entered;
    uint32_t request;      /* number of this call: its request id */
    int hpss_code;         /* an HPSS-only code to be told; 0: translate */
} sim_call;

int sim_enter(sim_call *call, enum sim_function function, const char *path);
/* For calls with two paths: rules look at both. */
int sim_enter_two(sim_call *call, enum sim_function function, const char *path,
                  const char *other);
/* The same for a call with a descriptor: -EBADF, -ESTALE; two threads: a violation. */
int sim_enter_fd(sim_call *call, enum sim_function function, int fd);
int64_t sim_leave(sim_call *call, int64_t rc);
/* rules.c: 0, or a negative code; fills after, kill_after, halve. Without the lock. */
int sim_apply_rules(sim_call *call);
/* For bytes offset..offset + *length: shortens length, or is a negative code. */
int sim_apply_byte_rules(sim_call *call, uint64_t offset, size_t *length);
int sim_rule_add(sim_state *state, const char *text, sim_text *answer);
void sim_rules_clear(sim_state *state);
void sim_rules_json(sim_state *state, sim_text *text);
void sim_counters_json(sim_state *state, bool reset, sim_text *text);
/* io.c: the descriptor, marked as in use by this thread; or a negative code. */
int sim_take_descriptor(sim_call *call, int fd);
void sim_give_back_descriptor(sim_descriptor *descriptor);
/* Closes all: the table is as in a new process. */
void sim_reset_descriptors(sim_state *state);
/* Of this thread. */
typedef struct {
    uint32_t uid;
    uint32_t umask;
} sim_thread;
sim_thread *sim_this_thread(void);
/* What EBUSY costs with api_config_t as it is, in seconds (fact 2.6). */
double sim_busy_delay(void);
/* Does the library itself wait for a stage in the background (fact 5: RetryStageInp)? */
bool sim_retries_stage(void);
/* The process's slot in the state. */
uint32_t sim_this_process(void);
/* want: bits 4, 2, 1 as in a mode. Checks no more than mode bits (fact 8.15). */
bool sim_permitted(const sim_file *file, unsigned want);
/* login.c: is this process logged in (and not forked)? */
bool sim_logged_in(void);
/* A rule of the API was broken; strict: abort. Without the lock. */
void sim_violation(sim_state *state, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void sim_count_batch(sim_state *state, uint32_t files);

/* errors.c: between Linux errno (positive) and HPSS numbers (negative). */
int sim_hpss_number(int linux_errno);
/* "EBUSY", "HPSS_ESTALE" or a number -> a negative code; 0: unknown. */
int sim_code_of_name(const char *name, bool *hpss_only);
/* 16 bytes that tell this call apart, as a request id. */
void sim_request_bytes(uint32_t request, uint8_t bytes[16]);

/* namespace.c, with the lock. */
enum { SIM_FOLLOW = 1 /* a symbolic link at the end */ };
/* 0 or -errno (ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, EINVAL); entry: SIM_NONE for "/". */
int sim_find(sim_state *state, const char *path, unsigned flags, uint32_t *file,
             uint32_t *entry);
/*
 * As sim_find, but the last component may be missing: then file is SIM_NONE and 0 the
 * result. parent: the directory; name: "" for "/" and for paths that end in "..".
 */
typedef struct {
    uint32_t parent, file, entry;
    char name[SIM_NAME];
} sim_place;
int sim_locate(sim_state *state, const char *path, unsigned flags, sim_place *place);
/* A name for a file; its links are counted. -ENOSPC: the tables are full. */
int sim_name_add(sim_state *state, uint32_t parent, const char *name, uint32_t file,
                 bool hard_link);
/* Takes a name away; the file goes if it was the last and nobody has it open. */
void sim_name_remove(sim_state *state, uint32_t entry);
/* A new object at a place that is free. */
int sim_make(sim_state *state, const sim_place *place, uint32_t kind, uint32_t mode,
             uint32_t *file);
/* What hpss_Link and hpss_Symlink do. */
int sim_link_names(sim_state *state, const char *old, const char *new);
int sim_symlink(sim_state *state, const char *contents, const char *path);
/* Of a path with its directories above, made if missing. */
int sim_make_parents(sim_state *state, const char *path);
/* Calls visit for each file (kind SIM_FILE) at or below path; stops at the first < 0. */
int sim_each_file(sim_state *state, const char *path,
                  int (*visit)(sim_state *state, uint32_t file, void *data), void *data);
static inline sim_file *sim_file_at(sim_state *state, uint32_t file)
{
    return &state->world->files[file];
}
/* NULL if that index is another file by now. */
sim_file *sim_file_with_id(sim_state *state, uint32_t file, uint64_t id);
/* Bytes of the file that are no holes. */
uint64_t sim_data_bytes(const sim_file *file);
/* There is data now; the extents are changed, size is not. io.c, with the lock. */
void sim_extent_add(sim_file *file, uint64_t offset, uint64_t length);
/* size and extents end there. */
void sim_cut(sim_file *file, uint64_t size);
/* What hpss_Fopen and its like are made of; call is that of the stream's function. */
int sim_open(sim_call *call, const char *path, int oflag, uint32_t mode,
             const void *hints, const void *priorities, void *hints_out);
int64_t sim_read(sim_call *call, void *buffer, size_t size);
int64_t sim_write(sim_call *call, const void *buffer, size_t size);
int sim_close(sim_call *call);
/* Of those, the ones below offset. */
uint64_t sim_data_before(const sim_file *file, uint64_t offset);

/* attributes.c, with the lock: JSON object of the user-defined attributes. */
void sim_attributes_json(sim_state *state, const sim_file *file, sim_text *text);

/*
 * The tape world (tape.c).
 */
/* With the lock: classes of service, cartridges and drives as shipped. */
void tape_format(sim_state *state);
/* With the lock: events up to now; mounts, seeks, recalls done. Cheap if none is due. */
void tape_advance(sim_state *state);
/* With the lock: a new, empty file (its cos is set). */
void tape_on_create(sim_state *state, uint32_t file);
/*
 * With the lock, after size and extents were changed: the top level holds what
 * sim_data_bytes says; lower copies are no longer valid (fact 8.5). before is the
 * earliest byte changed.
 */
void tape_on_write(sim_state *state, uint32_t file, uint64_t before);
/* With the lock: the last name and the last open are gone. */
void tape_on_delete(sim_state *state, uint32_t file);
/* With the lock: would reading that range need a tape (or is it lost)? */
bool tape_needs_recall(sim_state *state, uint32_t file, uint64_t offset, uint64_t length);
/*
 * Without the lock, with the call's descriptor set, before a Read (or a Write into a
 * file whose bytes are on tape only) acts: blocks until the range can be read.
 * 0, or -EIO for a damaged or dead cartridge or a file that no level has, ...
 */
int tape_make_readable(sim_call *call, uint64_t offset, uint64_t length);
/*
 * Without the lock, at the end of hpss_Open of an existing file for reading or
 * updating: stages as the class's stage code says, unless O_NONBLOCK (fact 5).
 * < 0: the open fails so (-EINPROGRESS).
 */
int tape_on_open(sim_call *call, uint32_t file, uint64_t file_id, int oflag);
/* Without the lock: hpss_Close blocks while a stage asked for with this fd lasts. */
void tape_on_close(sim_call *call);
/* With the lock: `[{"media": ..., "bytes": ..., ...}]` for ls. */
void tape_levels_json(sim_state *state, uint32_t file, sim_text *text);
/* With the lock: `"mounts": {...}`'s object for counters; reset sets them to 0. */
void tape_mounts_json(sim_state *state, sim_text *text);
void tape_reset_mounts(sim_state *state);
/*
 * Without the lock: commands migrate, purge, stage, partial, lose, damage, dead,
 * settle, speed, advance, ... -ENOSYS: not one of its own. Else 0 and JSON, or -errno
 * and a message.
 */
int tape_control(sim_state *state, int argc, const char *const *argv, sim_text *answer);

#pragma GCC visibility pop

#endif
