/* Names of errors, 1 src: DSI hpss_error.c. Takes minus the number. Not to be freed. */
#ifndef HPSS_SIM_STRING_H
#define HPSS_SIM_STRING_H

char *hpss_ErrnoName(int Error);
char *hpss_ErrnoString(int Error);

#endif
