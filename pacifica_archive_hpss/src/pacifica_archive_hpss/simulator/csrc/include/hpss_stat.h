/* What hpss_Stat, hpss_Lstat and hpss_Fstat fill: certain(6). */
#ifndef HPSS_SIM_STAT_H
#define HPSS_SIM_STAT_H

#include <sys/stat.h>

#include "hpss_types.h"

typedef struct {
    HPSS_SIM_PAD;
    unsigned16 st_nlink;
    unsigned16 st_flag;
    /* Prefixed because st_mtime is a macro on Linux: DSI, PAC. 32 bits, unsigned. */
    timestamp_sec_t hpss_st_mtime;
    timestamp_sec_t hpss_st_ctime;
    timestamp_sec_t hpss_st_atime;
    unsigned32 st_mode;
    u_signed64 st_ino;
    unsigned32 st_gid;
    unsigned32 st_uid;
    u_signed64 st_size;
    unsigned32 st_dev;
    unsigned32 st_rdev;
    unsigned32 st_blksize;
    unsigned32 st_blocks;
} hpss_stat_t;

#endif
