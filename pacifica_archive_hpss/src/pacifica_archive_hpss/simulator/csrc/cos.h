/*
 * Classes of service (cos.c): which one a new file gets, and what is told of it.
 */
#ifndef SIM_COS_H
#define SIM_COS_H

#include "sim.h"

#include "hpss_api.h"

#pragma GCC visibility push(hidden)

/* With the lock: NULL if there is no such class. */
const sim_class *cos_class(const sim_world *world, uint32_t id);
/*
 * With the lock: the class that hints and priorities (each may be NULL) ask for.
 * -EINVAL if a REQUIRED one cannot be met (fact 8.4).
 */
int cos_choose(const sim_world *world, const hpss_cos_hints_t *hints,
               const hpss_cos_priorities_t *priorities, uint32_t *id);
/* With the lock: hints_out of hpss_Open (fact 8.7); out may be NULL. */
void cos_fill_hints(const sim_world *world, const sim_file *file, hpss_cos_hints_t *out);

#pragma GCC visibility pop

#endif
