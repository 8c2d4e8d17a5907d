/*
 * HPSS's 64-bit number: one integer on LP64, a structure of two halves on 32 bits
 * (OSD). Only LP64 here, and unsigned long rather than uint64_t's guess of it.
 */
#ifndef HPSS_SIM_U_SIGNED64_H
#define HPSS_SIM_U_SIGNED64_H

#if !defined(_LP64)
#error "the simulated HPSS wants LP64"
#endif

typedef unsigned long u_signed64;

#define cast64m(a) ((u_signed64)(a)) /* certain(4) */
#define eqz64m(a) ((a) == 0)         /* DSI */
#define neqz64m(a) ((a) != 0)        /* guess */
#define gt64(a, b) ((a) > (b))       /* DSI */
#define gt64m(a, b) ((a) > (b))      /* guess */
#define lt64m(a, b) ((a) < (b))      /* guess */
#define add64m(a, b) ((a) + (b))     /* OSD */
#define sub64m(a, b) ((a) - (b))     /* guess */
#define high32m(a) ((unsigned int)((a) >> 32))
#define low32m(a) ((unsigned int)((a) & 0xffffffffUL))

#endif
