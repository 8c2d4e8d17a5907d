/*
 * Rules: "the 3rd Open answers -EBUSY" (facts 8.9 and 8.11).
 *
 * FUNCTION[@PATHGLOB]:WHEN:ACTION. FUNCTION is without hpss_, or * for all. WHEN counts
 * the calls that match, from when the rule was made: 3, 1-3, 2+ or *. ACTION:
 *
 *   -EBUSY, -HPSS_ESTALE  fail before acting; HPSS's own numbers come untranslated
 *   -EIO@4096             Read and Write: the byte at 4096 cannot be had; bytes before it can
 *   lost-ECONNRESET       act, then lose the reply
 *   drop-ECONNRESET       fail, and so with -ECONNREFUSED (HPSS_ECONN) each call of that
 *                         process until it logs in again
 *   hang                  until the rule is cleared
 *   kill, lost-kill       SIGKILL of the caller, before or after acting
 *   short                 half of the bytes
 */
#include "sim.h"

#include <errno.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {
#define SIM_X(short_name, name, cost) #short_name,
    SIM_FUNCTIONS(SIM_X)
#undef SIM_X
};

static bool has_path(const sim_rule *rule, const sim_call *call)
{
    if (rule->glob[0] == '\0')
        return true;
    return (call->path != NULL && fnmatch(rule->glob, call->path, 0) == 0) ||
           (call->other != NULL && fnmatch(rule->glob, call->other, 0) == 0);
}

static bool fits(const sim_rule *rule, const sim_call *call)
{
    return rule->used && (rule->function < 0 || rule->function == (int)call->function) &&
           has_path(rule, call);
}

static bool is_due(sim_rule *rule)
{
    rule->seen++;
    return rule->seen >= rule->first && rule->seen <= rule->last;
}

static bool still_there(sim_state *state, uint32_t id)
{
    sim_world *world = sim_lock(state);
    bool there = false;

    for (uint32_t i = 0; i < SIM_RULES; i++)
        there = there || (world->rules[i].used && world->rules[i].id == id);
    sim_unlock(state);
    return there;
}

static void hang(sim_state *state, uint32_t id)
{
    unsigned generation = atomic_load(&state->world->rule_generation);

    while (still_there(state, id)) {
        while (atomic_load(&state->world->rule_generation) == generation)
            sim_pause();
        generation = atomic_load(&state->world->rule_generation);
    }
}

static int answer(sim_call *call, const sim_rule *rule)
{
    call->hpss_code = rule->hpss_only ? rule->code : 0;
    return rule->code;
}

int sim_apply_rules(sim_call *call)
{
    sim_state *state = call->state;
    int rc = 0;
    uint32_t hanging = 0;

    if (atomic_load_explicit(&state->world->rule_count, memory_order_acquire) == 0)
        return 0;
    sim_world *world = sim_lock(state);
    for (uint32_t i = 0; i < SIM_RULES; i++) {
        sim_rule *rule = &world->rules[i];

        /* Each rule counts by itself, also what an earlier one makes fail. */
        if (!fits(rule, call) || rule->at >= 0 || !is_due(rule) || rc != 0)
            continue;
        switch ((enum sim_action)rule->action) {
        case SIM_ACT_FAIL:
            rc = answer(call, rule);
            break;
        case SIM_ACT_DROP:
            rc = answer(call, rule);
            call->drop = true;
            break;
        case SIM_ACT_LOST:
            call->after = answer(call, rule);
            break;
        case SIM_ACT_HANG:
            hanging = rule->id;
            break;
        case SIM_ACT_KILL:
            sim_unlock(state);
            kill(getpid(), SIGKILL);
            for (;;)
                pause();
        case SIM_ACT_LOST_KILL:
            call->kill_after = true;
            break;
        case SIM_ACT_SHORT:
            call->halve = true;
            break;
        }
    }
    sim_unlock(state);
    if (hanging != 0)
        hang(state, hanging);
    return rc;
}

static int cut(uint64_t at, uint64_t offset, size_t *length, int code)
{
    if (at < offset || at - offset >= *length)
        return 0;
    *length = (size_t)(at - offset);
    return *length == 0 ? code : 0;
}

int sim_apply_byte_rules(sim_call *call, uint64_t offset, size_t *length)
{
    bool reading = call->function == SIM_Read || call->function == SIM_Fread;
    double knob = sim_knob(call->state->world,
                           reading ? SIM_KNOB_read_error_at : SIM_KNOB_write_error_at);
    size_t asked = *length;
    int rc = 0;

    if (asked > 0 && knob >= 0)
        rc = cut((uint64_t)knob, offset, length, reading ? -EIO : -ENOSPC);
    if (rc < 0 || asked == 0 || atomic_load(&call->state->world->rule_count) == 0)
        return rc;
    sim_world *world = sim_lock(call->state);
    for (uint32_t i = 0; i < SIM_RULES && rc == 0; i++) {
        sim_rule *rule = &world->rules[i];
        size_t left = *length;

        if (!fits(rule, call) || rule->at < 0)
            continue;
        rc = cut((uint64_t)rule->at, offset, &left, rule->code);
        if (rc < 0 && !is_due(rule))
            rc = 0;
        else if (rc < 0)
            rc = answer(call, rule);
        else
            *length = left;
    }
    sim_unlock(call->state);
    return rc;
}

static bool parse_when(const char *text, sim_rule *rule)
{
    char *end;

    rule->first = 1;
    rule->last = UINT64_MAX;
    if (strcmp(text, "*") == 0)
        return true;
    rule->first = rule->last = strtoull(text, &end, 10);
    if (end == text || rule->first == 0)
        return false;
    if (strcmp(end, "+") == 0)
        rule->last = UINT64_MAX;
    else if (*end == '-') {
        const char *last = end + 1;
        rule->last = strtoull(last, &end, 10);
        if (end == last || *end != '\0' || rule->last < rule->first)
            return false;
    } else if (*end != '\0')
        return false;
    return true;
}

static bool parse_code(const char *text, sim_rule *rule)
{
    char name[64];
    const char *at = strchr(text, '@');
    size_t length = at == NULL ? strlen(text) : (size_t)(at - text);
    bool hpss_only;
    char *end;

    if (length == 0 || length >= sizeof name)
        return false;
    memcpy(name, text, length);
    name[length] = '\0';
    rule->code = sim_code_of_name(name, &hpss_only);
    rule->hpss_only = hpss_only;
    if (at != NULL) {
        rule->at = strtoll(at + 1, &end, 10);
        if (at[1] == '\0' || *end != '\0' || rule->at < 0 || rule->action != SIM_ACT_FAIL)
            return false;
    }
    return rule->code != 0;
}

static bool parse_action(const char *text, sim_rule *rule)
{
    static const struct {
        const char *text;
        enum sim_action action;
    } whole[] = {{"hang", SIM_ACT_HANG},
                 {"kill", SIM_ACT_KILL},
                 {"lost-kill", SIM_ACT_LOST_KILL},
                 {"short", SIM_ACT_SHORT}};

    rule->at = -1;
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++)
        if (strcmp(text, whole[i].text) == 0) {
            rule->action = whole[i].action;
            return true;
        }
    if (strncmp(text, "lost-", 5) == 0) {
        rule->action = SIM_ACT_LOST;
        return parse_code(text + 5, rule);
    }
    if (strncmp(text, "drop-", 5) == 0) {
        rule->action = SIM_ACT_DROP;
        return parse_code(text + 5, rule);
    }
    rule->action = SIM_ACT_FAIL;
    return text[0] == '-' && parse_code(text + 1, rule);
}

static bool parse_function(char *text, sim_rule *rule)
{
    char *glob = strchr(text, '@');

    if (glob != NULL) {
        *glob++ = '\0';
        if (*glob == '\0' || strlen(glob) >= sizeof rule->glob)
            return false;
        strcpy(rule->glob, glob);
    }
    rule->function = -1;
    if (strcmp(text, "*") == 0)
        return true;
    if (strncmp(text, "hpss_", 5) == 0)
        text += 5;
    for (int i = 0; i < SIM_FUNCTION_COUNT; i++)
        if (strcmp(names[i], text) == 0) {
            rule->function = i;
            return true;
        }
    return false;
}

int sim_rule_add(sim_state *state, const char *text, sim_text *answer)
{
    sim_rule rule = {.used = 1};
    char copy[sizeof rule.text];
    int rc = -ENOSPC;

    if (strlen(text) >= sizeof copy) {
        sim_print(answer, "the rule is too long");
        return -EINVAL;
    }
    strcpy(copy, text);
    strcpy(rule.text, text);
    /* From the end: a path may have colons. */
    char *action = strrchr(copy, ':');
    if (action != NULL)
        *action++ = '\0';
    char *when = action == NULL ? NULL : strrchr(copy, ':');
    if (when != NULL)
        *when++ = '\0';
    if (when == NULL || !parse_when(when, &rule) || !parse_action(action, &rule) ||
        !parse_function(copy, &rule)) {
        sim_print(answer, "not a rule: FUNCTION[@PATHGLOB]:WHEN:ACTION, as Open:3:-EBUSY");
        return -EINVAL;
    }
    sim_world *world = sim_lock(state);
    for (uint32_t i = 0; i < SIM_RULES && rc < 0; i++)
        if (!world->rules[i].used) {
            rule.id = ++world->next_rule_id;
            SIM_TOUCH(state, world->rules[i]);
            world->rules[i] = rule;
            rc = 0;
        }
    if (rc == 0) {
        atomic_fetch_add(&world->rule_count, 1);
        atomic_fetch_add(&world->rule_generation, 1);
        sim_print(answer, "%u", rule.id);
    } else
        sim_print(answer, "there are too many rules");
    sim_unlock(state);
    return rc;
}

void sim_rules_clear(sim_state *state)
{
    sim_world *world = sim_lock(state);

    for (uint32_t i = 0; i < SIM_RULES; i++)
        world->rules[i].used = 0;
    atomic_store(&world->rule_count, 0);
    atomic_fetch_add(&world->rule_generation, 1);
    sim_unlock(state);
}

void sim_rules_json(sim_state *state, sim_text *text)
{
    sim_world *world = sim_lock(state);
    const char *separator = "";

    sim_print(text, "[");
    for (uint32_t i = 0; i < SIM_RULES; i++) {
        if (!world->rules[i].used)
            continue;
        sim_print(text, "%s{\"rule\": ", separator);
        sim_print_quoted(text, world->rules[i].text);
        sim_print(text, ", \"seen\": %llu}", (unsigned long long)world->rules[i].seen);
        separator = ", ";
    }
    sim_print(text, "]");
    sim_unlock(state);
}
