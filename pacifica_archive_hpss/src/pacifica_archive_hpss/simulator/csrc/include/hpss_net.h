/*
 * Addresses: DSI stage.c, IBMPY. hpss_api.h has it from 7.5 on; before, it must be
 * included by its name (facts, section 7). 0, or a number for gai_strerror and a text.
 */
#ifndef HPSS_SIM_NET_H
#define HPSS_SIM_NET_H

#include <stddef.h>

#include "hpss_types.h"

#define HPSS_NET_MAXBUF 256

typedef enum {
    HPSS_IPPROTO_UNSPECIFIED = 80 + HPSS_SIM_TWIST,
    HPSS_IPPROTO_TCP = 82 + HPSS_SIM_TWIST
} hpss_ipproto_t;

int hpss_net_getaddrinfo(HPSS_SIM_CONST char *hostname, HPSS_SIM_CONST char *service,
                         int flags, hpss_ipproto_t protocol, hpss_sockaddr_t *addr,
                         char *errbuf, size_t errbuflen);

#endif
