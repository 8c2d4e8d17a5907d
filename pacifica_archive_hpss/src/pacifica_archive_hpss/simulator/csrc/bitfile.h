/*
 * Bitfiles as the API names them (xattr.c): which bytes a handle has is not public,
 * so it is our file's number in disguise. Never the same for two files.
 */
#ifndef SIM_BITFILE_H
#define SIM_BITFILE_H

#include "sim.h"

#include "hpss_api.h"

#if HPSS_SIM_V < 705
typedef hpssoid_t sim_bitfile;
#else
typedef bfs_bitfile_obj_handle_t sim_bitfile;
#endif

#pragma GCC visibility push(hidden)

void bitfile_of(uint32_t index, uint64_t id, sim_bitfile *bitfile);
/* With the lock: the file's index, or SIM_NONE: not a handle of ours, or deleted. */
uint32_t bitfile_find(sim_state *state, const sim_bitfile *bitfile);

#pragma GCC visibility pop

#endif
