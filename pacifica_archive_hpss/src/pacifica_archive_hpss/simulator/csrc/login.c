/*
 * Entry and exit of every call, and the login (facts 2.7, 3 and 8.1).
 */
#include "sim.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hpss_Getenv.h"
#include "hpss_api.h"
#include "hpss_errno.h"
#include "hpss_mech.h"
#include "hpss_net.h"
#include "hpss_sim.h"

static const struct {
    const char *name;
    enum sim_cost cost;
} functions[] = {
#define SIM_X(short_name, name, cost) {#name, SIM_##cost},
    SIM_FUNCTIONS(SIM_X)
#undef SIM_X
};

/* The login is the process's (fact 3); this is of this copy of the library. */
static struct {
    pthread_mutex_t mutex; /* of logging in and out */
    atomic_int pid;        /* whose login it is; 0: none */
    atomic_int first_pid;  /* of the first login: a child of it has forked */
    atomic_uint process;   /* slot in the state */
    atomic_int in_flight;  /* calls that use the login */
    atomic_bool dropped;   /* the connection was lost by a rule */
    atomic_uint requests;
} session = {.mutex = PTHREAD_MUTEX_INITIALIZER, .process = SIM_NONE};

static pthread_mutex_t settings_mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint default_uid = SIM_UID, default_umask = 022;
static _Thread_local struct {
    sim_thread state;
    bool loaded;
    hpss_errno_state_t error;
} thread;

/* Defaults of MG73 p.339, 382 (fact 2.6): 3 retries, 15 s apart, when busy. */
static api_config_t configuration = {
    .BusyRetries = 3, .BusyDelay = 15, .NumRetries = 4, .AuthnMech = hpss_authn_mech_unix,
    .XMLSize = 2048};

sim_thread *sim_this_thread(void)
{
    if (!thread.loaded) {
        thread.state = (sim_thread){atomic_load(&default_uid), atomic_load(&default_umask)};
        thread.loaded = true;
    }
    return &thread.state;
}

uint32_t sim_this_process(void)
{
    return atomic_load(&session.process);
}

bool sim_logged_in(void)
{
    return atomic_load(&session.pid) == getpid();
}

double sim_busy_delay(void)
{
    pthread_mutex_lock(&settings_mutex);
    double delay = configuration.BusyRetries > 0 && configuration.BusyDelay > 0
                       ? (double)configuration.BusyRetries * configuration.BusyDelay
                       : 0;
    pthread_mutex_unlock(&settings_mutex);
    return delay;
}

bool sim_retries_stage(void)
{
    pthread_mutex_lock(&settings_mutex);
    bool retries = configuration.RetryStageInp > 0;
    pthread_mutex_unlock(&settings_mutex);
    return retries;
}

bool sim_permitted(const sim_file *file, unsigned want)
{
    const sim_thread *who = sim_this_thread();
    unsigned bits = who->uid == file->uid ? file->mode >> 6 : file->mode;

    return who->uid == 0 || (bits & want) == want;
}

/* errno is a lie after every call, good or bad (fact 2.1). */
static void lie(void)
{
    errno = SIM_DECOY;
}

static bool forked(void)
{
    int pid = atomic_load(&session.first_pid);

    return pid != 0 && pid != getpid();
}

static void hang_before_login(sim_world *world)
{
    while (sim_knob(world, SIM_KNOB_prelogin) != 0 && !sim_logged_in())
        sim_pause();
}

static bool needs_login(enum sim_cost cost)
{
    return cost != SIM_PURE;
}

static int check_login(sim_call *call)
{
    const char *name = functions[call->function].name;
    sim_world *world = call->state->world;

    if (forked()) {
        sim_violation(call->state, "%s after a fork", name);
        return -EPERM;
    }
    if (!needs_login(functions[call->function].cost))
        return 0;
    atomic_fetch_add(&session.in_flight, 1);
    call->entered = true;
    if (sim_logged_in())
        return 0;
    atomic_fetch_sub(&session.in_flight, 1);
    call->entered = false;
    sim_violation(call->state, "%s before login", name);
    hang_before_login(world);
    return -EPERM;
}

static int check_connection(sim_call *call)
{
    sim_world *world = call->state->world;
    enum sim_cost cost = functions[call->function].cost;

    if (cost != SIM_CORE && cost != SIM_MOVER)
        return 0;
    if (sim_knob(world, SIM_KNOB_down) != 0 || atomic_load(&session.dropped))
        return -ECONNREFUSED;
    if (sim_knob(world, SIM_KNOB_expired) != 0)
        return -EACCES;
    return 0;
}

static void count(sim_call *call)
{
    sim_counters *counters = &call->state->world->counters;
    enum sim_cost cost = functions[call->function].cost;

    atomic_fetch_add_explicit(&counters->calls[call->function], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(cost == SIM_CORE    ? &counters->core
                              : cost == SIM_MOVER ? &counters->mover
                                                  : &counters->local,
                              1, memory_order_relaxed);
}

static int begin(sim_call *call, enum sim_function function, const char *path,
                 const char *other, const int *fd)
{
    memset(call, 0, sizeof *call);
    call->state = sim_api();
    call->function = function;
    call->path = path;
    call->other = other;
    if (call->state == NULL)
        return functions[function].cost == SIM_PURE ? 0 : -EPERM;
    call->request = atomic_fetch_add(&session.requests, 1) + 1;
    count(call);
    int rc = check_login(call);
    if (rc == 0 && fd != NULL)
        rc = sim_take_descriptor(call, *fd);
    if (rc == 0 && atomic_load(&call->state->world->magic) != SIM_MAGIC)
        rc = functions[function].cost == SIM_PURE ? 0 : -EIO;
    if (rc < 0)
        return rc;
    if (functions[function].cost == SIM_CORE)
        sim_sleep(sim_knob(call->state->world, SIM_KNOB_delay_ms) * 1e-3);
    rc = check_connection(call);
    if (rc == 0)
        rc = sim_apply_rules(call);
    if (call->drop)
        atomic_store(&session.dropped, true);
    if (rc == -EBUSY && sim_knob(call->state->world, SIM_KNOB_library_retries) != 0)
        sim_sleep(sim_busy_delay());
    return rc;
}

int sim_enter(sim_call *call, enum sim_function function, const char *path)
{
    return begin(call, function, path, NULL, NULL);
}

int sim_enter_two(sim_call *call, enum sim_function function, const char *path,
                  const char *other)
{
    return begin(call, function, path, other, NULL);
}

int sim_enter_fd(sim_call *call, enum sim_function function, int fd)
{
    return begin(call, function, NULL, NULL, &fd);
}

static void tell_error(sim_call *call, int64_t rc)
{
    uint8_t bytes[16];

    thread.error.hpss_errno = rc >= 0                 ? HPSS_E_NOERROR
                              : call->hpss_code != 0 ? call->hpss_code
                              : rc == -1406          ? HPSS_ENOTALLMOVED
                                                     : sim_hpss_number((int)-rc);
    snprintf(thread.error.func, sizeof thread.error.func, "%s",
             functions[call->function].name);
    sim_request_bytes(call->request, bytes);
    memcpy(&thread.error.requestId, bytes, sizeof thread.error.requestId);
}

int64_t sim_leave(sim_call *call, int64_t rc)
{
    if (call->kill_after)
        kill(getpid(), SIGKILL);
    if (call->after != 0)
        rc = call->after;
    if (call->descriptor != NULL)
        sim_give_back_descriptor(call->descriptor);
    /* A call that only looks at the error leaves it. */
    if (functions[call->function].cost == SIM_CORE ||
        functions[call->function].cost == SIM_MOVER || rc < 0)
        tell_error(call, rc);
    if (call->entered)
        atomic_fetch_sub(&session.in_flight, 1);
    lie();
    return rc;
}

static bool is_keytab(const void *authenticator)
{
    struct stat status;

    return authenticator != NULL && stat(authenticator, &status) == 0 &&
           S_ISREG(status.st_mode) && access(authenticator, R_OK) == 0;
}

static const char *mechanism_name(hpss_authn_mech_t mechanism)
{
    switch (mechanism) {
    case hpss_authn_mech_krb5:
        return "krb5";
    case hpss_authn_mech_unix:
        return "unix";
    case hpss_authn_mech_gsi:
        return "gsi";
    case hpss_authn_mech_spkm:
        return "spkm";
    default:
        return "";
    }
}

/*
 * Unknown user, bad keytab, krb5 with a unix keytab: EPERM (fact 2.7). Which users and
 * which mechanism are known is the knobs user (empty: all), refused_user, mechanism.
 */
static bool is_accepted(const sim_world *world, const char *principal,
                        hpss_authn_mech_t mechanism, hpss_rpc_cred_type_t credential,
                        hpss_rpc_auth_type_t type, const void *authenticator)
{
    if (principal == NULL || principal[0] == '\0' ||
        strcmp(principal, world->refused_user) == 0)
        return false;
    if (world->user[0] != '\0' && strcmp(principal, world->user) != 0)
        return false;
    if (strcmp(world->mechanism, "any") != 0 &&
        strcmp(world->mechanism, mechanism_name(mechanism)) != 0)
        return false;
    return mechanism_name(mechanism)[0] != '\0' && credential == hpss_rpc_cred_client &&
           (type == hpss_rpc_auth_type_keytab || type == hpss_rpc_auth_type_keyfile) &&
           is_keytab(authenticator);
}

/* With session.mutex. */
static int log_in(sim_call *call, const char *principal, hpss_authn_mech_t mechanism,
                  hpss_rpc_cred_type_t credential, hpss_rpc_auth_type_t type,
                  const void *authenticator)
{
    uint32_t process = atomic_load(&session.process);
    int rc = 0;

    if (sim_logged_in())
        return -EIO; /* a second login without a purge (fact 2.7: TQ) */
    sim_world *world = sim_lock(call->state);
    if (sim_knob(world, SIM_KNOB_down) != 0)
        rc = -ECONNREFUSED;
    else if (!is_accepted(world, principal, mechanism, credential, type, authenticator))
        rc = -EPERM;
    else if (process == SIM_NONE)
        rc = sim_process_begin(call->state, &process);
    sim_unlock(call->state);
    if (rc < 0)
        return rc;
    atomic_fetch_add(&world->counters.logins, 1);
    atomic_store(&world->knobs[SIM_KNOB_expired], 0);
    atomic_store(&session.process, process);
    atomic_store(&session.dropped, false);
    atomic_store(&session.first_pid, getpid());
    atomic_store(&session.pid, getpid());
    return 0;
}

/* Another state is named since the last login: this process leaves the old one. */
static void follow_state(void)
{
    pthread_mutex_lock(&session.mutex);
    if (!forked() && !sim_logged_in() && sim_api_moved()) {
        sim_state *state = sim_api();
        uint32_t process = atomic_exchange(&session.process, SIM_NONE);

        sim_reset_descriptors(state);
        sim_lock(state);
        if (process != SIM_NONE)
            sim_process_end(state, process);
        sim_unlock(state);
        sim_api_forget();
    }
    pthread_mutex_unlock(&session.mutex);
}

int hpss_SetLoginCred(char *principal, hpss_authn_mech_t mechanism,
                      hpss_rpc_cred_type_t credential, hpss_rpc_auth_type_t type,
                      void *authenticator)
{
    sim_call call;

    follow_state();
    int rc = sim_enter(&call, SIM_SetLoginCred, NULL);
    if (rc == 0 && call.state == NULL)
        rc = -EIO;
    if (rc == 0) {
        pthread_mutex_lock(&session.mutex);
        rc = log_in(&call, principal, mechanism, credential, type, authenticator);
        pthread_mutex_unlock(&session.mutex);
    }
    return (int)sim_leave(&call, rc);
}

/* No other call may be in flight while the login goes (fact 3: OSD, DSI). */
static void check_quiet(sim_call *call)
{
    int others = atomic_load(&session.in_flight);

    if (others > 0)
        sim_violation(call->state, "%s with %d calls in flight",
                      functions[call->function].name, others);
}

void hpss_PurgeLoginCred(void)
{
    sim_call call;

    if (sim_enter(&call, SIM_PurgeLoginCred, NULL) == 0 && call.state != NULL) {
        check_quiet(&call);
        pthread_mutex_lock(&session.mutex);
        atomic_store(&session.pid, 0);
        pthread_mutex_unlock(&session.mutex);
    }
    sim_leave(&call, 0);
}

/* Descriptors are gone and begin at 3 again (guess: the table is the API's state). */
void hpss_ClientAPIReset(void)
{
    sim_call call;

    if (sim_enter(&call, SIM_ClientAPIReset, NULL) == 0 && call.state != NULL) {
        check_quiet(&call);
        pthread_mutex_lock(&session.mutex);
        sim_reset_descriptors(call.state);
        pthread_mutex_unlock(&session.mutex);
    }
    sim_leave(&call, 0);
}

/* Fact 8.6: what a process that ends by itself has not freed; afterwards nobody can tell. */
__attribute__((destructor)) static void look_for_leaks(void)
{
    if (atomic_load(&session.first_pid) != getpid())
        return; /* it never logged in, or is a child of one that did */
    sim_state *state = sim_api();
    if (state == NULL)
        return;
    sim_lock(state);
    long lists = xattr_pvlists_of(state, getpid());
    sim_unlock(state);
    if (lists > 0)
        sim_violation(state, "%ld PVLists not freed at the end of the process", lists);
}

signed32 hpss_AuthnMechTypeFromString(HPSS_SIM_CONST char *text,
                                      hpss_authn_mech_t *mechanism)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_AuthnMechTypeFromString, NULL);

    if (rc == 0 && (text == NULL || mechanism == NULL))
        rc = -EINVAL;
    if (rc == 0) {
        hpss_authn_mech_t found = hpss_authn_mech_invalid;

        for (int i = hpss_authn_mech_krb5; i <= hpss_authn_mech_spkm; i++)
            if (strcmp(text, mechanism_name((hpss_authn_mech_t)i)) == 0)
                found = (hpss_authn_mech_t)i;
        if (found == hpss_authn_mech_invalid)
            rc = -EINVAL;
        else
            *mechanism = found;
    }
    return (signed32)sim_leave(&call, rc);
}

signed32 hpss_ParseAuthString(char *text, hpss_authn_mech_t *mechanism,
                              hpss_rpc_auth_type_t *type, void **authenticator)
{
    static const struct {
        const char *prefix;
        hpss_rpc_auth_type_t type;
    } kinds[] = {{"auth_keytab:", hpss_rpc_auth_type_keytab},
                 {"auth_keyfile:", hpss_rpc_auth_type_keyfile}};
    sim_call call;
    int rc = sim_enter(&call, SIM_ParseAuthString, NULL);

    if (rc == 0) {
        rc = -EINVAL;
        for (size_t i = 0; text != NULL && i < sizeof kinds / sizeof kinds[0]; i++) {
            size_t length = strlen(kinds[i].prefix);

            if (strncmp(text, kinds[i].prefix, length) != 0 || type == NULL ||
                authenticator == NULL)
                continue;
            *type = kinds[i].type;
            *authenticator = strdup(text + length);
            if (mechanism != NULL)
                *mechanism = hpss_authn_mech_unix;
            rc = *authenticator == NULL ? -ENOMEM : 0;
        }
    }
    return (signed32)sim_leave(&call, rc);
}

/* Of threads that have not yet made a call. */
int hpss_LoadDefaultThreadState(uid_t uid, mode_t mask, char *client)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_LoadDefaultThreadState, NULL);

    (void)client;
    if (rc == 0) {
        atomic_store(&default_uid, uid);
        atomic_store(&default_umask, mask & 0777);
    }
    return (int)sim_leave(&call, rc);
}

int hpss_LoadThreadState(uid_t uid, mode_t mask, char *client)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_LoadThreadState, NULL);

    (void)client;
    if (rc == 0)
        *sim_this_thread() = (sim_thread){uid, mask & 0777};
    return (int)sim_leave(&call, rc);
}

int hpss_GetThreadUcred(sec_cred_t *credential)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_GetThreadUcred, NULL);

    if (rc == 0 && credential == NULL)
        rc = -EFAULT;
    if (rc == 0) {
        memset(credential, 0, sizeof *credential);
        credential->Uid = sim_this_thread()->uid;
        credential->Gid = SIM_UID;
        snprintf(credential->Name, sizeof credential->Name, "%s", "hpss.unix");
    }
    return (int)sim_leave(&call, rc);
}

mode_t hpss_Umask(mode_t mask)
{
    sim_call call;
    mode_t before = 0;

    if (sim_enter(&call, SIM_Umask, NULL) == 0) {
        before = sim_this_thread()->umask;
        sim_this_thread()->umask = mask & 0777;
    }
    sim_leave(&call, 0);
    return before;
}

#if HPSS_SIM_V < 705
#define SERVER_ID hpss_uuid_t
int hpss_LookupRootCS(char *site, SERVER_ID *id)
#else
#define SERVER_ID hpss_srvr_id_t
int hpss_LookupRootCS(const char *site, SERVER_ID *id)
#endif
{
    sim_call call;
    int rc = sim_enter(&call, SIM_LookupRootCS, NULL);

    (void)site; /* any site is this one */
    if (rc == 0 && id == NULL)
        rc = -EFAULT;
    if (rc == 0)
        memset(id, 0x5c, sizeof *id);
    return (int)sim_leave(&call, rc);
}

/* The server's clock, not a latency (fact 2.8): the simulated one and a skew. */
#if HPSS_SIM_V < 705
int hpss_PingCore(SERVER_ID *id, unsigned32 *seconds, unsigned32 *microseconds)
#else
int hpss_PingCore(const SERVER_ID *id, unsigned32 *seconds, unsigned32 *microseconds)
#endif
{
    SERVER_ID known;
    sim_call call;
    int rc = sim_enter(&call, SIM_PingCore, NULL);

    memset(&known, 0x5c, sizeof known);
    if (rc == 0 && (id == NULL || seconds == NULL || microseconds == NULL))
        rc = -EFAULT;
    else if (rc == 0 && memcmp(id, &known, sizeof known) != 0)
        rc = -EINVAL;
    if (rc == 0) {
        sim_world *world = sim_lock(call.state);
        double now = sim_now(world) + sim_knob(world, SIM_KNOB_ping_skew_s);

        sim_unlock(call.state);
        *seconds = (unsigned32)now;
        *microseconds = (unsigned32)((now - (double)*seconds) * 1e6);
    }
    return (int)sim_leave(&call, rc);
}

int hpss_GetConfiguration(api_config_t *config)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_GetConfiguration, NULL);

    if (rc == 0 && config == NULL)
        rc = -EFAULT;
    if (rc == 0) {
        pthread_mutex_lock(&settings_mutex);
        *config = configuration;
        pthread_mutex_unlock(&settings_mutex);
    }
    return (int)sim_leave(&call, rc);
}

int hpss_SetConfiguration(HPSS_SIM_CONST api_config_t *config)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_SetConfiguration, NULL);

    if (rc == 0 && config == NULL)
        rc = -EFAULT;
    if (rc == 0) {
        pthread_mutex_lock(&settings_mutex);
        configuration = *config;
        pthread_mutex_unlock(&settings_mutex);
    }
    return (int)sim_leave(&call, rc);
}

/* "9.3", though the header may spell it 09.03. */
const char *hpss_sim_version(void)
{
    static char version[16];
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&mutex);
    if (version[0] == '\0')
        snprintf(version, sizeof version, "%d.%d", HPSS_MAJOR_VERSION, HPSS_MINOR_VERSION);
    pthread_mutex_unlock(&mutex);
    return version;
}

int hpss_sim_is_simulator(void)
{
    return 1;
}

/* "maj.min", compared by DSI with what it was compiled for; more may follow (guess). */
char *hpss_BuildLevelString(void)
{
    sim_call call;
    char *text = NULL;

    if (sim_enter(&call, SIM_BuildLevelString, NULL) == 0 &&
        asprintf(&text, "%d.%d.0.0", HPSS_MAJOR_VERSION, HPSS_MINOR_VERSION) < 0)
        text = NULL;
    sim_leave(&call, 0);
    return text;
}

hpss_errno_state_t hpss_GetLastHPSSErrno(void)
{
    sim_call call;

    /* Before a login even this hangs (fact 2.7: DSI). */
    sim_enter(&call, SIM_GetLastHPSSErrno, NULL);
    sim_leave(&call, 0);
    return thread.error;
}

void hpss_ClearLastHPSSErrno(void)
{
    sim_call call;

    sim_enter(&call, SIM_ClearLastHPSSErrno, NULL);
    sim_leave(&call, 0);
    memset(&thread.error, 0, sizeof thread.error);
}

char *hpss_Getenv(HPSS_SIM_CONST char *name)
{
    sim_call call;
    char *value = NULL;

    if (sim_enter(&call, SIM_Getenv, NULL) == 0 && name != NULL)
        value = getenv(name);
    sim_leave(&call, 0);
    return value;
}

/* Resolves for the callback address of a stage; what goes wrong is in errbuf. */
int hpss_net_getaddrinfo(HPSS_SIM_CONST char *host, HPSS_SIM_CONST char *service, int flags,
                         hpss_ipproto_t protocol, hpss_sockaddr_t *address, char *text,
                         size_t size)
{
    struct addrinfo hints = {.ai_flags = flags, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    sim_call call;
    int rc = sim_enter(&call, SIM_net_getaddrinfo, NULL);

    (void)protocol;
    if (rc == 0) {
        rc = getaddrinfo(host, service, &hints, &found);
        if (rc == 0 && found->ai_addrlen > sizeof address->sim_address)
            rc = EAI_FAMILY;
        if (rc == 0) {
            memset(address, 0, sizeof *address);
            address->sim_size = found->ai_addrlen;
            memcpy(&address->sim_address, found->ai_addr, found->ai_addrlen);
        } else if (text != NULL && size > 0)
            snprintf(text, size, "%s", gai_strerror(rc));
        if (found != NULL)
            freeaddrinfo(found);
    }
    sim_leave(&call, 0);
    return rc;
}
