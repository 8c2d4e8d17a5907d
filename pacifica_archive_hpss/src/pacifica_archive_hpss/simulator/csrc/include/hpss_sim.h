/*
 * The simulator's own calls: not of HPSS, and how a program tells it from HPSS.
 * They work without any login and are independent of the release simulated.
 */
#ifndef HPSS_SIM_SIM_H
#define HPSS_SIM_SIM_H

/* 1. Refer to it weakly: HPSS does not have it. */
int hpss_sim_is_simulator(void);
/* Of the headers it was built with: "9.3". */
const char *hpss_sim_version(void);
/*
 * Do one command of the simulator's guide on a state directory: 0 and JSON, or minus
 * an errno and a text. Free the answer, which is never NULL, with hpss_sim_free.
 */
int hpss_sim_command(const char *state, int argc, const char *const *argv,
                     char **answer);
void hpss_sim_free(char *answer);

#endif
