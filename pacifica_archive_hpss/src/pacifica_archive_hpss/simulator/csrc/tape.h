/*
 * The tape world's records in the shared state (tape.c and xattr.c own them).
 *
 * Fixed-width fields only, no pointers: the layout is the same for every header
 * variant and lives in a file that several processes map at different addresses.
 */
#ifndef SIM_TAPE_H
#define SIM_TAPE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* HPSS_MAX_STORAGE_LEVELS (fact 1.3: PAC, DSI, MG73). */
#define SIM_LEVELS 5
/* BFS_MAX_VV_TO_RETURN_AT_LEVEL (fact 1.3). */
#define SIM_VVS 10
#define SIM_CLASSES 16
#define SIM_CARTRIDGES 1024
#define SIM_DRIVES 64
#define SIM_REQUESTS 16384
#define SIM_PVLISTS 8192

enum sim_media { SIM_UNUSED, SIM_DISK, SIM_TAPE };

/* What hpss_Open does with a purged file (facts 5 and 8.7; MG73 p.179). */
enum sim_stage_code { SIM_STAGE_BLOCK, SIM_STAGE_ASYNC, SIM_STAGE_BACKGROUND, SIM_STAGE_NONE };

/* A segment of a file on a cartridge. */
typedef struct {
    uint32_t cartridge;       /* index; labels are the cartridge's */
    int32_t position;         /* RelPosition */
    uint64_t position_offset; /* RelPositionOffset: bytes behind it */
    uint64_t bytes;
} sim_vv;

/* A file at one level of its hierarchy. */
typedef struct {
    uint64_t bytes;  /* BytesAtLevel: holes are not counted */
    uint32_t exists; /* DATAEXISTS_AT_LEVEL */
    uint32_t vv_count;
    sim_vv vv[SIM_VVS];
} sim_level;

/* A class of service: levels from the top. */
typedef struct {
    uint32_t id;      /* 0: not used */
    uint32_t levels;
    uint32_t stage_code;
    uint32_t media[SIM_LEVELS];
    uint64_t minimum_size, maximum_size; /* bytes; what the hints are held against */
    char name[32];
} sim_class;

typedef struct {
    char label[16]; /* "": not used */
    uint32_t damaged, dead;
    int32_t next_position;
    uint32_t mounts;
    uint64_t used; /* bytes */
} sim_cartridge;

typedef struct {
    uint32_t cartridge; /* index + 1; 0: empty */
    int32_t position;
    uint32_t request;   /* index + 1; 0: idle */
    double free_at;     /* simulated second when it is done with what it does */
} sim_drive;

enum sim_request_state { SIM_REQUEST_FREE, SIM_REQUEST_QUEUED, SIM_REQUEST_ACTIVE };
/* STAGE brings a file to its top level, READ only passes its bytes to a reader. */
enum sim_request_kind { SIM_REQUEST_STAGE, SIM_REQUEST_READ };

/* A recall that is queued or active; gone when it is done, whatever came of it. */
typedef struct {
    uint32_t state;
    uint32_t kind;
    uint32_t file;    /* index */
    uint32_t level;   /* the tape level it is read from */
    uint64_t file_id; /* so that a reused index is not taken for it */
    uint64_t wanted;  /* that many bytes of data from the file's beginning */
    uint64_t moved;   /* bytes that go over the drive for it */
    uint64_t order;   /* in which they came; never used twice */
    uint64_t batch;   /* order of the batch's first; 0: none */
    uint8_t request_id[16];
    uint32_t open;    /* open record whose Close waits for it, + 1; 0: none */
    uint32_t callback_size;
    uint8_t callback[32]; /* a sockaddr of IPv4 or IPv6 */
    double done_at;
} sim_request;

/* A PVList that was given to a caller, who frees it; see xattr.c. */
typedef struct {
    uint64_t address; /* of the cookie in it: layouts differ between releases */
    uint64_t cookie;
    int32_t pid;
    int32_t spare;
} sim_pvlist;

typedef struct {
    sim_class classes[SIM_CLASSES];
    sim_cartridge cartridges[SIM_CARTRIDGES];
    sim_drive drives[SIM_DRIVES];
    sim_request requests[SIM_REQUESTS];
    uint32_t requests_used; /* all behind it are free */
    uint32_t requests_live;
    uint32_t cartridges_used;
    uint32_t callbacks;     /* addresses called back */
    uint64_t next_order;
    double next_due;        /* simulated second of the next event */
    uint32_t pvlists_used;  /* all behind it are free */
    uint32_t pvlists_kept;  /* when they were last looked through */
    sim_pvlist pvlists[SIM_PVLISTS];
} sim_tape;

struct sim_state;
/* xattr.c, with the lock: PVLists given to callers that are alive and not yet freed. */
#pragma GCC visibility push(hidden)
long xattr_pvlists(struct sim_state *state);
/* The same of one process. */
long xattr_pvlists_of(const struct sim_state *state, int pid);
#pragma GCC visibility pop

#endif
