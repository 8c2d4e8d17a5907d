/*
 * The clock: simulated seconds run `speed` times as fast as CLOCK_REALTIME (fact 8.8).
 */
#include "sim.h"

#include <errno.h>

static double real_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double sim_now(const sim_world *world)
{
    return world->simulated_base + (real_now() - world->real_base) * world->speed;
}

/* 32 bits, unsigned, as timestamp_sec_t is (fact 1.2). */
uint32_t sim_now_s(const sim_world *world)
{
    return (uint32_t)(int64_t)sim_now(world);
}

static void rebase(sim_state *state, double simulated, double speed)
{
    sim_world *world = state->world;

    SIM_TOUCH(state, world->simulated_base);
    SIM_TOUCH(state, world->real_base);
    SIM_TOUCH(state, world->speed);
    world->simulated_base = simulated;
    world->real_base = real_now();
    world->speed = speed;
}

void sim_set_speed(sim_state *state, double speed)
{
    rebase(state, sim_now(state->world), speed);
}

void sim_advance(sim_state *state, double seconds)
{
    rebase(state, sim_now(state->world) + seconds, state->world->speed);
}

void sim_sleep(double seconds)
{
    struct timespec rest;

    if (seconds <= 0)
        return;
    rest.tv_sec = (time_t)seconds;
    rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
    while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
        ;
}

void sim_pause(void)
{
    sim_sleep(0.001);
}
