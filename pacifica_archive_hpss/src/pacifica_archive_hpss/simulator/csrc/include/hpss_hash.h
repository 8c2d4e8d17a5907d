/*
 * Kinds of file digests: names a guess (section 1.1 tells only that there are some).
 * hpss_FsetFileDigest and its like (7.5+) are not simulated: nothing of ours wants them.
 */
#ifndef HPSS_SIM_HASH_H
#define HPSS_SIM_HASH_H

typedef enum { hpss_hash_type_none = 0 } hpss_hash_type_t;

#endif
