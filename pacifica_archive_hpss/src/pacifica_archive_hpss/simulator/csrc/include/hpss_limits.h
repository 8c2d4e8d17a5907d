/* Limits of the simulated HPSS Client API; those of section 1.3 of the facts public. */
#ifndef HPSS_SIM_LIMITS_H
#define HPSS_SIM_LIMITS_H

#define HPSS_MAX_STORAGE_LEVELS 5        /* PAC, DSI, MG73 */
#define BFS_MAX_VV_TO_RETURN_AT_LEVEL 10 /* DSI */
/* Names certain, numbers guesses. */
#define HPSS_MAX_PATH_NAME 1024
#define HPSS_MAX_FILE_NAME 256
#define HPSS_MAX_OBJECT_NAME 48
#define HPSS_MAX_DESC_NAME 64
#define HPSS_MAX_USER_NAME 64
#define HPSS_NGROUPS_MAX 32
#define HPSS_PV_NAME_SIZE 12

#endif
