/*
 * Recalls and residency, shared by tape.c, stage.c, xattr.c and world.c.
 * All with the lock but tape_wait.
 */
#ifndef SIM_RECALL_H
#define SIM_RECALL_H

#include "sim.h"

#pragma GCC visibility push(hidden)

bool tape_only(const sim_world *world, const sim_file *file);
bool tape_has_tape(const sim_world *world, const sim_file *file);
/* Of the disk level that has most. */
uint64_t tape_disk_bytes(const sim_world *world, const sim_file *file);
/* It needs a recall, and no sound cartridge has it. */
bool tape_cannot_recall(sim_state *state, uint32_t file, uint64_t offset, uint64_t length);
/* enum sim_media of a level of the file's class. */
uint32_t tape_media(const sim_world *world, const sim_file *file, unsigned level);

/* What is asked for: bytes [begin, end) of a file; a stage has begin 0. */
typedef struct {
    uint32_t kind; /* enum sim_request_kind */
    uint32_t file;
    uint64_t begin, end;
    uint64_t batch;
    const uint8_t *request_id; /* 16 bytes; NULL: one of its own */
    uint32_t open;
    uint32_t callback_size;
    const void *callback;
} recall_order;
typedef struct {
    uint32_t slot;
    uint64_t order;
} recall_ticket;

/* 0, -EIO (no level has it), -EAGAIN (too many). Then tape_dispatch(). */
int tape_submit(sim_state *state, const recall_order *what, recall_ticket *ticket);
/* Gives idle drives what waits for one. */
void tape_dispatch(sim_state *state);
/* Without the lock: until it is done, whatever came of it. -ESTALE: a new format. */
int tape_wait(sim_state *state, const recall_ticket *ticket);
/* The stage of a file, queued or active, with that id or (NULL) any; NULL: none. */
const sim_request *tape_request_of(const sim_world *world, uint32_t file,
                                   const uint8_t *request_id);

/* Where migrate puts first copies; without labels they fill cartridges in order. */
typedef struct {
    uint32_t count; /* more than one: each file is spread over all of them */
    uint32_t cartridges[SIM_VVS];
    uint32_t aggregate; /* files at one position, behind each other */
    uint32_t in_aggregate;
    uint64_t aggregate_bytes;
} tape_placement;

/* The cartridge of that label, new if need be; SIM_NONE: there are too many. */
uint32_t tape_cartridge(sim_state *state, const char *label);
/* Copies from the top to all levels below that lack data; where may be NULL. -ENOSPC. */
int tape_migrate(sim_state *state, uint32_t file, bool force, tape_placement *where,
                 uint64_t *bytes);
/*
 * Frees a disk level, or all of them with level -1. Fact 8.5: needs a copy below it
 * and respects the lock; the codes (-EINVAL, -EBUSY) are guesses.
 */
int tape_purge(sim_state *state, uint32_t file, int level, uint64_t *bytes);
/* The first bytes of data are at the top level from now on. */
void tape_put_on_disk(sim_state *state, uint32_t file, uint64_t bytes);
/* Does a tape level have that many bytes of it? */
bool tape_has_copy(const sim_world *world, const sim_file *file, uint64_t bytes);

#pragma GCC visibility pop

#endif
