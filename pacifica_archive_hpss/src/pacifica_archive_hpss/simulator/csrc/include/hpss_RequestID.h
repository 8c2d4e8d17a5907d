/* Request ids as text, malloc'ed, where they are uuids: DSI, from 8 on. */
#ifndef HPSS_SIM_REQUESTID_H
#define HPSS_SIM_REQUESTID_H

#include "hpss_types.h"

#if HPSS_SIM_V >= 800
char *hpss_RequestIDtoString(const hpss_reqid_t *RequestId);
#endif

#endif
