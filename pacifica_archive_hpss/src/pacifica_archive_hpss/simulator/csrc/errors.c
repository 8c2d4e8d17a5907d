/*
 * Errors: Linux's numbers, HPSS's numbers, and names (facts 2.2 and 2.3).
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hpss_RequestID.h"
#include "hpss_String.h"
#include "hpss_api.h"
#include "hpss_errno.h"

typedef struct {
    const char *name;
    int number;
    int linux_errno; /* 0: none is like it */
} hpss_error;

static const hpss_error hpss_errors[] = {
#define ROW(name, linux_errno) {#name, name, linux_errno}
    ROW(HPSS_EPERM, EPERM),
    ROW(HPSS_ENOENT, ENOENT),
    ROW(HPSS_EINTR, EINTR),
    ROW(HPSS_EIO, EIO),
    ROW(HPSS_ENXIO, ENXIO),
    ROW(HPSS_EBADF, EBADF),
    ROW(HPSS_ECHILD, ECHILD),
    ROW(HPSS_EAGAIN, EAGAIN),
    ROW(HPSS_ENOMEM, ENOMEM),
    ROW(HPSS_EACCES, EACCES),
    ROW(HPSS_EFAULT, EFAULT),
    ROW(HPSS_EBUSY, EBUSY),
    ROW(HPSS_EEXIST, EEXIST),
    ROW(HPSS_EXDEV, EXDEV),
    ROW(HPSS_ENODEV, ENODEV),
    ROW(HPSS_ENOTDIR, ENOTDIR),
    ROW(HPSS_EISDIR, EISDIR),
    ROW(HPSS_EINVAL, EINVAL),
    ROW(HPSS_ENFILE, ENFILE),
    ROW(HPSS_EMFILE, EMFILE),
    ROW(HPSS_EFBIG, EFBIG),
    ROW(HPSS_ENOSPACE, ENOSPC),
    ROW(HPSS_EMLINK, EMLINK),
    ROW(HPSS_EPIPE, EPIPE),
    ROW(HPSS_EDOM, EDOM),
    ROW(HPSS_ERANGE, ERANGE),
    ROW(HPSS_EDEADLK, EDEADLK),
    ROW(HPSS_ENOLCK, ENOLCK),
    ROW(HPSS_EWRPROTECT, EROFS),
    ROW(HPSS_ECONN, ECONNREFUSED),
    ROW(HPSS_ESTALE, ESTALE),
    ROW(HPSS_EMSGSIZE, EMSGSIZE),
    ROW(HPSS_ENOSR, ENOSR),
    ROW(HPSS_EOPNOTSUPP, EOPNOTSUPP),
    ROW(HPSS_ENOLINK, ENOLINK),
    ROW(HPSS_EBADMSG, EBADMSG),
    ROW(HPSS_ETIMEDOUT, ETIMEDOUT),
    ROW(HPSS_ENAMETOOLONG, ENAMETOOLONG),
    ROW(HPSS_ENOTEMPTY, ENOTEMPTY),
    ROW(HPSS_EDQUOT, EDQUOT),
    ROW(HPSS_ENOTALLMOVED, 0),
    ROW(HPSS_EOM, 0),
    ROW(HPSS_ENOATTR, ENODATA),
    ROW(HPSS_SEC_ENOT_AUTHORIZED, 0),
    ROW(HPSS_SEC_LDAP_RETRY, 0),
#undef ROW
};

/* Linux codes for which no HPSS name is public: AIX's numbers, as the others are; guess. */
typedef struct {
    const char *name;
    int linux_errno;
    int hpss_number; /* 0: in the table above */
} linux_error;

static const linux_error linux_errors[] = {
#define SAME(name) {#name, name, 0}
    SAME(EPERM), SAME(ENOENT), SAME(EINTR), SAME(EIO), SAME(ENXIO), SAME(EBADF),
    SAME(ECHILD), SAME(EAGAIN), SAME(ENOMEM), SAME(EACCES), SAME(EFAULT), SAME(EBUSY),
    SAME(EEXIST), SAME(EXDEV), SAME(ENODEV), SAME(ENOTDIR), SAME(EISDIR), SAME(EINVAL),
    SAME(ENFILE), SAME(EMFILE), SAME(EFBIG), SAME(ENOSPC), SAME(EMLINK), SAME(EPIPE),
    SAME(EDOM), SAME(ERANGE), SAME(EDEADLK), SAME(ENOLCK), SAME(EROFS), SAME(ESTALE),
    SAME(EMSGSIZE), SAME(ENOSR), SAME(EOPNOTSUPP), SAME(ENOLINK), SAME(EBADMSG),
    SAME(ETIMEDOUT), SAME(ENAMETOOLONG), SAME(ENOTEMPTY), SAME(EDQUOT), SAME(ENODATA),
#undef SAME
    {"ECONNREFUSED", ECONNREFUSED, HPSS_ECONN},
    {"ECONNRESET", ECONNRESET, HPSS_ECONN},
    {"ECONNABORTED", ECONNABORTED, HPSS_ECONN},
    {"ENOTCONN", ENOTCONN, HPSS_ECONN},
    {"EINPROGRESS", EINPROGRESS, -55},
    {"EALREADY", EALREADY, -56},
    {"ENOBUFS", ENOBUFS, -74},
    {"EHOSTDOWN", EHOSTDOWN, -80},
    {"EHOSTUNREACH", EHOSTUNREACH, -81},
    {"ELOOP", ELOOP, -85},
    {"ENOSYS", ENOSYS, -109},
    {"EOVERFLOW", EOVERFLOW, -127},
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

int sim_hpss_number(int number)
{
    for (size_t i = 0; i < COUNT(linux_errors); i++)
        if (linux_errors[i].linux_errno == number && linux_errors[i].hpss_number != 0)
            return linux_errors[i].hpss_number;
    for (size_t i = 0; i < COUNT(hpss_errors); i++)
        if (hpss_errors[i].linux_errno == number)
            return hpss_errors[i].number;
    return -number;
}

int sim_code_of_name(const char *name, bool *hpss_only)
{
    char *end;

    *hpss_only = false;
    for (size_t i = 0; i < COUNT(linux_errors); i++)
        if (strcmp(linux_errors[i].name, name) == 0)
            return -linux_errors[i].linux_errno;
    for (size_t i = 0; i < COUNT(hpss_errors); i++)
        if (strcmp(hpss_errors[i].name, name) == 0) {
            *hpss_only = true;
            return hpss_errors[i].number;
        }
    long number = strtol(name, &end, 10);
    return *name != '\0' && *end == '\0' && number > 0 && number < 100000 ? -(int)number : 0;
}

static const char *name_of(int error)
{
    /* Of both numberings, HPSS's own first: it takes minus the number (fact 1.1). */
    for (size_t i = 0; i < COUNT(hpss_errors); i++)
        if (hpss_errors[i].number == error)
            return hpss_errors[i].name;
    for (size_t i = 0; i < COUNT(linux_errors); i++)
        if (linux_errors[i].linux_errno == -error)
            return linux_errors[i].name;
    return error == HPSS_E_NOERROR ? "HPSS_E_NOERROR" : "unknown error code";
}

char *hpss_ErrnoName(int error)
{
    sim_call call;

    if (sim_enter(&call, SIM_ErrnoName, NULL) < 0)
        return (char *)"unknown error code";
    sim_leave(&call, 0);
    return (char *)name_of(error);
}

char *hpss_ErrnoString(int error)
{
    sim_call call;

    if (sim_enter(&call, SIM_ErrnoString, NULL) < 0)
        return (char *)"unknown error code";
    sim_leave(&call, 0);
    return (char *)name_of(error);
}

/* Unlike a uuid in the middle, so that a mix-up of fields shows. */
void sim_request_bytes(uint32_t request, uint8_t bytes[16])
{
    memset(bytes, 0xa5, 16);
    memcpy(bytes, &request, sizeof request);
}

#if HPSS_SIM_V >= 800
char *hpss_RequestIDtoString(const hpss_reqid_t *id)
{
    sim_call call;
    char *text = NULL;

    if (sim_enter(&call, SIM_RequestIDtoString, NULL) == 0 && id != NULL &&
        asprintf(&text, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", id->time_low,
                 id->time_mid, id->time_hi_and_version, id->clock_seq_hi_and_reserved,
                 id->clock_seq_low, id->node[0], id->node[1], id->node[2], id->node[3],
                 id->node[4], id->node[5]) < 0)
        text = NULL;
    sim_leave(&call, 0);
    return text;
}
#endif
