/* The environment, with HPSS's env.conf behind it: DSI. The simulator has no env.conf. */
#ifndef HPSS_SIM_GETENV_H
#define HPSS_SIM_GETENV_H

#include "hpss_types.h"

char *hpss_Getenv(HPSS_SIM_CONST char *Env);

#endif
