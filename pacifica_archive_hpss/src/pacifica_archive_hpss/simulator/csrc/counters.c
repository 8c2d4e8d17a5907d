/*
 * Counters of calls and of broken rules (facts 8.10 and 8.12).
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
#define SIM_X(short_name, name, cost) #name,
    SIM_FUNCTIONS(SIM_X)
#undef SIM_X
};

void sim_violation(sim_state *state, const char *format, ...)
{
    char text[160];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    sim_world *world = sim_lock(state);
    sim_counters *counters = &world->counters;
    uint32_t known = counters->violation_count < SIM_VIOLATIONS ? counters->violation_count
                                                                : SIM_VIOLATIONS;
    SIM_TOUCH(state, counters->violation_count);
    if (known < SIM_VIOLATIONS)
        memcpy(counters->violations[known], text, sizeof text);
    counters->violation_count++;
    sim_unlock(state);
    if (sim_knob(world, SIM_KNOB_strict) != 0) {
        fprintf(stderr, "simulator of HPSS: %s\n", text);
        abort();
    }
}

void sim_count_batch(sim_state *state, uint32_t files)
{
    sim_counters *counters = &sim_lock(state)->counters;
    uint32_t count = atomic_load(&counters->batch_count);

    if (count < SIM_BATCHES)
        counters->batches[count] = files;
    atomic_store(&counters->batch_count, count + 1);
    sim_unlock(state);
}

static unsigned long long take(atomic_ullong *counter, bool reset)
{
    return reset ? atomic_exchange(counter, 0) : atomic_load(counter);
}

void sim_counters_json(sim_state *state, bool reset, sim_text *text)
{
    sim_world *world = sim_lock(state);
    sim_counters *counters = &world->counters;
    const char *separator = "";

    sim_reap(state);
    sim_print(text, "{\"calls\": {");
    for (int i = 0; i < SIM_FUNCTION_COUNT; i++) {
        unsigned long long count = take(&counters->calls[i], reset);

        if (count == 0)
            continue;
        sim_print(text, "%s\"%s\": %llu", separator, names[i], count);
        separator = ", ";
    }
    sim_print(text, "}, \"core\": %llu", take(&counters->core, reset));
    sim_print(text, ", \"mover\": %llu", take(&counters->mover, reset));
    sim_print(text, ", \"local\": %llu, \"violations\": [", take(&counters->local, reset));
    for (uint32_t i = 0; i < counters->violation_count && i < SIM_VIOLATIONS; i++) {
        sim_print(text, "%s", i == 0 ? "" : ", ");
        sim_print_quoted(text, counters->violations[i]);
    }
    sim_print(text, "], \"open_files\": %u", world->open_files);
    /* What is open or not freed is not set to 0: a reset does not mend a leak. */
    sim_print(text, ", \"pvlists\": %ld", xattr_pvlists(state));
    sim_print(text, ", \"logins\": %llu", take(&counters->logins, reset));
    sim_print(text, ", \"duplicate_stages\": %llu",
              take(&counters->duplicate_stages, reset));
    sim_print(text, ", \"monitor_red\": %llu", take(&counters->monitor_red, reset));
    sim_print(text, ", \"gated\": %llu, \"mounts\": ", take(&counters->gated, reset));
    tape_mounts_json(state, text);
    sim_print(text, ", \"batches\": [");
    uint32_t batches = atomic_load(&counters->batch_count);
    for (uint32_t i = 0; i < batches && i < SIM_BATCHES; i++)
        sim_print(text, "%s%u", i == 0 ? "" : ", ", counters->batches[i]);
    sim_print(text, "]}");
    if (reset) {
        counters->violation_count = 0;
        atomic_store(&counters->batch_count, 0);
        tape_reset_mounts(state);
    }
    sim_unlock(state);
}
