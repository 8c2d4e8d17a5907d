/*
 * The tape world: levels of files, cartridges, drives and the queue of recalls.
 *
 * Time passes on the simulated clock only (fact 8.8): whoever calls first moves the
 * world on, event by event, to the present (tape_advance). A file on disk is always a
 * beginning of it: partial residency is a number of bytes of data (guess: HPSS keeps
 * segments; a stage of a range brings all before it, too).
 */
#include "recall.h"

#include "cos.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Nothing on a tape is done in less: so that with speed 0 nothing ever ends. */
#define LEAST_S 0.001
#define NEVER 1e300

/* Shipped classes: fact 8.4 and the brief of this simulator. */
static const sim_class shipped[] = {
    {.id = 1, .levels = 2, .media = {SIM_DISK, SIM_TAPE}, .maximum_size = 1ULL << 40,
     .name = "disk+tape"},
    {.id = 2, .levels = 3, .media = {SIM_DISK, SIM_TAPE, SIM_TAPE},
     .maximum_size = 1ULL << 40, .name = "disk+2tape"},
    {.id = 3, .levels = 3, .media = {SIM_DISK, SIM_DISK, SIM_TAPE},
     .maximum_size = 1ULL << 40, .name = "disk+disk+tape"},
    {.id = 4, .levels = 1, .media = {SIM_TAPE}, .maximum_size = 1ULL << 40,
     .stage_code = SIM_STAGE_NONE, .name = "tape"},
    {.id = 5, .levels = 1, .media = {SIM_DISK}, .maximum_size = 1ULL << 40,
     .stage_code = SIM_STAGE_NONE, .name = "disk"},
    {.id = 6, .levels = 2, .media = {SIM_DISK, SIM_TAPE}, .maximum_size = 1 << 20,
     .name = "small"},
};

void tape_format(sim_state *state)
{
    sim_tape *tape = &state->world->tape;

    memset(tape, 0, sizeof *tape);
    memcpy(tape->classes, shipped, sizeof shipped);
    tape->next_order = 1;
    tape->next_due = NEVER;
}

/* --- levels ------------------------------------------------------------------ */

uint32_t tape_media(const sim_world *world, const sim_file *file, unsigned level)
{
    const sim_class *class = cos_class(world, file->cos);

    return class == NULL || level >= class->levels ? SIM_UNUSED : class->media[level];
}

bool tape_only(const sim_world *world, const sim_file *file)
{
    return tape_media(world, file, 0) == SIM_TAPE;
}

bool tape_has_tape(const sim_world *world, const sim_file *file)
{
    for (unsigned l = 0; l < SIM_LEVELS; l++)
        if (tape_media(world, file, l) == SIM_TAPE)
            return true;
    return false;
}

uint64_t tape_disk_bytes(const sim_world *world, const sim_file *file)
{
    uint64_t most = 0;

    for (unsigned l = 0; l < SIM_LEVELS; l++)
        if (tape_media(world, file, l) == SIM_DISK && file->levels[l].bytes > most)
            most = file->levels[l].bytes;
    return most;
}

/*
 * The tape level to read so many bytes from, or -1. The first copy, or the second if
 * the first one's cartridge is damaged (guess: HPSS does so only if told to).
 */
static int source_level(const sim_world *world, const sim_file *file, uint64_t wanted)
{
    for (unsigned l = 0; l < SIM_LEVELS; l++) {
        const sim_level *level = &file->levels[l];
        if (tape_media(world, file, l) != SIM_TAPE || level->bytes < wanted ||
            level->vv_count == 0)
            continue;
        bool sound = true;
        for (uint32_t v = 0; v < level->vv_count; v++) {
            const sim_cartridge *cartridge = &world->tape.cartridges[level->vv[v].cartridge];
            sound = sound && !cartridge->damaged && !cartridge->dead;
        }
        if (sound)
            return (int)l;
    }
    return -1;
}

bool tape_has_copy(const sim_world *world, const sim_file *file, uint64_t wanted)
{
    for (unsigned l = 0; l < SIM_LEVELS; l++)
        if (tape_media(world, file, l) == SIM_TAPE && file->levels[l].bytes >= wanted &&
            file->levels[l].exists)
            return true;
    return false;
}

static uint64_t end_of(const sim_file *file, uint64_t offset, uint64_t length)
{
    if (offset >= file->size)
        return file->size;
    return length > file->size - offset ? file->size : offset + length;
}

bool tape_needs_recall(sim_state *state, uint32_t index, uint64_t offset, uint64_t length)
{
    const sim_file *file = sim_file_at(state, index);
    uint64_t wanted = sim_data_before(file, end_of(file, offset, length));

    if (wanted == sim_data_before(file, offset))
        return false; /* nothing, or a hole, which is at no level */
    return wanted > tape_disk_bytes(state->world, file);
}

bool tape_cannot_recall(sim_state *state, uint32_t index, uint64_t offset, uint64_t length)
{
    const sim_file *file = sim_file_at(state, index);

    return tape_needs_recall(state, index, offset, length) &&
           source_level(state->world, file,
                        sim_data_before(file, end_of(file, offset, length))) < 0;
}

static uint32_t cartridge_with(sim_state *state, const char *label)
{
    sim_tape *tape = &state->world->tape;

    for (uint32_t c = 0; c < tape->cartridges_used; c++)
        if (strcmp(tape->cartridges[c].label, label) == 0)
            return c;
    return SIM_NONE;
}

static uint32_t new_cartridge(sim_state *state, const char *label)
{
    sim_tape *tape = &state->world->tape;

    if (tape->cartridges_used == SIM_CARTRIDGES)
        return SIM_NONE;
    SIM_TOUCH(state, tape->cartridges_used);
    uint32_t c = tape->cartridges_used++;
    SIM_TOUCH(state, tape->cartridges[c]);
    memset(&tape->cartridges[c], 0, sizeof tape->cartridges[c]);
    snprintf(tape->cartridges[c].label, sizeof tape->cartridges[c].label, "%s", label);
    tape->cartridges[c].next_position = 1;
    return c;
}

uint32_t tape_cartridge(sim_state *state, const char *label)
{
    uint32_t c = cartridge_with(state, label);

    return c != SIM_NONE ? c : new_cartridge(state, label);
}

/* The cartridge that is being filled with first copies (0), second ones (1), ... */
static uint32_t filling_cartridge(sim_state *state, unsigned copy)
{
    sim_tape *tape = &state->world->tape;
    double full = sim_knob(state->world, SIM_KNOB_cartridge_files);
    char label[16];

    for (unsigned number = 1; number <= SIM_CARTRIDGES; number++) {
        snprintf(label, sizeof label, "%c%05u", 'A' + (int)copy, number);
        uint32_t c = cartridge_with(state, label);
        if (c == SIM_NONE)
            return new_cartridge(state, label);
        if (!tape->cartridges[c].damaged && !tape->cartridges[c].dead &&
            tape->cartridges[c].next_position <= full)
            return c;
    }
    return SIM_NONE;
}

/* Writes bytes of a file to tape at a level. -ENOSPC: no cartridge. */
static int put_on_tape(sim_state *state, sim_file *file, unsigned level, uint64_t bytes,
                       unsigned copy, tape_placement *where)
{
    sim_tape *tape = &state->world->tape;
    sim_level *to = &file->levels[level];
    bool placed = copy == 0 && where != NULL && where->count > 0;
    uint32_t count = placed ? where->count : 1;

    SIM_TOUCH(state, *file);
    memset(to, 0, sizeof *to);
    for (uint32_t v = 0; v < count; v++) {
        uint32_t c = placed ? where->cartridges[v] : filling_cartridge(state, copy);
        if (c == SIM_NONE)
            return -ENOSPC;
        sim_cartridge *cartridge = &tape->cartridges[c];
        SIM_TOUCH(state, *cartridge);
        sim_vv *vv = &to->vv[v];
        vv->cartridge = c;
        vv->bytes = v + 1 < count ? bytes / count : bytes - bytes / count * (count - 1);
        if (copy == 0 && where != NULL && where->aggregate > 1) {
            /* Aggregated files share a position and differ in the offset. */
            if (where->in_aggregate == 0) {
                cartridge->next_position++;
                where->aggregate_bytes = 0;
            }
            vv->position = cartridge->next_position - 1;
            vv->position_offset = where->aggregate_bytes;
            where->aggregate_bytes += vv->bytes;
            where->in_aggregate = (where->in_aggregate + 1) % where->aggregate;
        } else {
            vv->position = cartridge->next_position++;
        }
        cartridge->used += vv->bytes;
    }
    to->vv_count = count;
    to->bytes = bytes;
    to->exists = 1;
    return 0;
}

/* A purge, stage or migration moves the ctime (guess; an ETag must not hang on it). */
static void changed(sim_state *state, sim_file *file)
{
    SIM_TOUCH(state, file->ctime_s);
    file->ctime_s = sim_now_s(state->world);
}

int tape_migrate(sim_state *state, uint32_t index, bool force, tape_placement *where,
                   uint64_t *bytes)
{
    sim_file *file = sim_file_at(state, index);
    uint64_t data = sim_data_bytes(file);
    unsigned copy = 0;

    *bytes = 0;
    if (data == 0 || tape_only(state->world, file) ||
        tape_disk_bytes(state->world, file) < data)
        return 0; /* no segments; nothing below; nothing above to copy from */
    for (unsigned l = 1; l < SIM_LEVELS; l++) {
        uint32_t media = tape_media(state->world, file, l);
        int rc = 0;
        if (media == SIM_UNUSED)
            break;
        if (file->levels[l].bytes < data || force) {
            if (media == SIM_TAPE) {
                rc = put_on_tape(state, file, l, data, copy, where);
            } else {
                SIM_TOUCH(state, file->levels[l]);
                file->levels[l].bytes = data;
                file->levels[l].exists = 1;
            }
            if (rc < 0)
                return rc;
            *bytes += data;
        }
        if (media == SIM_TAPE)
            copy++;
    }
    if (*bytes > 0)
        changed(state, file);
    return 0;
}

int tape_purge(sim_state *state, uint32_t index, int level, uint64_t *bytes)
{
    sim_file *file = sim_file_at(state, index);
    const sim_world *world = state->world;
    uint64_t data = sim_data_bytes(file);

    *bytes = 0;
    for (unsigned l = 0; l < SIM_LEVELS; l++) {
        sim_level *from = &file->levels[l];
        if ((level >= 0 && (unsigned)level != l) || from->bytes == 0 ||
            tape_media(world, file, l) != SIM_DISK)
            continue;
        if (file->purge_locked)
            return -EBUSY;
        bool copied = tape_has_copy(world, file, data);
        for (unsigned m = l + 1; m < SIM_LEVELS && level >= 0; m++)
            copied = copied || file->levels[m].bytes >= data;
        if (!copied)
            return -EINVAL;
        SIM_TOUCH(state, *from);
        *bytes += from->bytes;
        from->bytes = 0;
        from->exists = 0;
    }
    if (*bytes > 0)
        changed(state, file);
    return 0;
}

void tape_put_on_disk(sim_state *state, uint32_t index, uint64_t bytes)
{
    sim_file *file = sim_file_at(state, index);

    SIM_TOUCH(state, file->levels[0]);
    file->levels[0].bytes = bytes;
    file->levels[0].exists = bytes > 0;
    changed(state, file);
}

void tape_on_create(sim_state *state, uint32_t index)
{
    sim_file *file = sim_file_at(state, index);

    SIM_TOUCH(state, file->levels);
    memset(file->levels, 0, sizeof file->levels); /* no segments */
}

void tape_on_write(sim_state *state, uint32_t index, uint64_t before)
{
    sim_file *file = sim_file_at(state, index);
    uint64_t data = sim_data_bytes(file);
    sim_vv first = file->levels[0].vv[0];
    bool has_first = file->levels[0].vv_count > 0;

    (void)before; /* a lower copy is of the whole file or of none (guess) */
    SIM_TOUCH(state, file->levels);
    memset(file->levels, 0, sizeof file->levels);
    if (data == 0)
        return;
    if (tape_only(state->world, file)) {
        if (has_first) {
            /* One write goes on where the last one ended. */
            sim_level *level = &file->levels[0];
            level->vv[0] = first;
            level->vv[0].bytes = data;
            level->vv_count = 1;
            level->bytes = data;
            level->exists = 1;
        } else if (put_on_tape(state, file, 0, data, 0, NULL) < 0) {
            memset(file->levels, 0, sizeof file->levels);
        }
        return;
    }
    file->levels[0].bytes = data;
    file->levels[0].exists = 1;
}

/* --- recalls ------------------------------------------------------------------ */

static void free_request(sim_state *state, uint32_t slot)
{
    sim_tape *tape = &state->world->tape;

    SIM_TOUCH(state, tape->requests[slot]);
    SIM_TOUCH(state, tape->requests_used);
    SIM_TOUCH(state, tape->requests_live);
    tape->requests[slot].state = SIM_REQUEST_FREE;
    tape->requests_live--;
    while (tape->requests_used > 0 &&
           tape->requests[tape->requests_used - 1].state == SIM_REQUEST_FREE)
        tape->requests_used--;
}

void tape_on_delete(sim_state *state, uint32_t index)
{
    sim_tape *tape = &state->world->tape;
    uint64_t id = sim_file_at(state, index)->id;

    for (uint32_t slot = tape->requests_used; slot-- > 0;)
        if (tape->requests[slot].state == SIM_REQUEST_QUEUED &&
            tape->requests[slot].file == index && tape->requests[slot].file_id == id)
            free_request(state, slot);
}

/*
 * A callback address is connected to and nothing is sent; what HPSS sends is not
 * public. Only loopback: a simulator must not knock at a site's doors.
 */
static void call_back(sim_state *state, const sim_request *request)
{
    struct sockaddr_storage address;

    if (request->callback_size == 0)
        return;
    memset(&address, 0, sizeof address);
    memcpy(&address, request->callback, request->callback_size);
    SIM_TOUCH(state, state->world->tape.callbacks);
    state->world->tape.callbacks++;
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *ipv4 = (const struct sockaddr_in *)&address;
        if (ntohl(ipv4->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
            return;
    } else if (address.ss_family != AF_INET6 ||
               !IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&address)->sin6_addr)) {
        return;
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    /* On loopback the other side knows of it when this returns; no one there: no harm. */
    (void)!connect(fd, (const struct sockaddr *)&address, request->callback_size);
    close(fd);
}

/* A drive is done with a request. A cartridge that went bad meanwhile: it came to nothing. */
static void complete(sim_state *state, uint32_t drive)
{
    sim_world *world = state->world;
    sim_drive *with = &world->tape.drives[drive];
    uint32_t slot = with->request - 1;
    sim_request *request = &world->tape.requests[slot];
    sim_file *file = sim_file_with_id(state, request->file, request->file_id);

    SIM_TOUCH(state, *with);
    with->request = 0;
    if (file != NULL && request->kind == SIM_REQUEST_STAGE &&
        source_level(world, file, request->wanted) >= 0 &&
        file->levels[0].bytes < request->wanted)
        tape_put_on_disk(state, request->file, request->wanted);
    call_back(state, request);
    free_request(state, slot);
}

/* Drives in sight: the ones behind are idle and empty. */
static uint32_t drives_used(const sim_tape *tape, uint32_t at_least)
{
    uint32_t used = SIM_DRIVES;

    while (used > at_least && tape->drives[used - 1].request == 0 &&
           tape->drives[used - 1].cartridge == 0)
        used--;
    return used;
}

/* Is one with the same id, of another file and not of the same batch, being done? */
static bool is_gated(const sim_tape *tape, uint32_t used, const sim_request *request)
{
    for (uint32_t d = 0; d < used; d++) {
        if (tape->drives[d].request == 0)
            continue;
        const sim_request *other = &tape->requests[tape->drives[d].request - 1];
        if (memcmp(other->request_id, request->request_id, 16) == 0 &&
            other->file_id != request->file_id &&
            (request->batch == 0 || other->batch != request->batch))
            return true;
    }
    return false;
}

/* tor: by cartridge and place on it, first what is in a drive (fact 5: Tape Ordered
 * Recall). Else in the order in which they came. */
static bool goes_before(const sim_world *world, const sim_request *a, bool a_loaded,
                        const sim_request *b, bool b_loaded)
{
    if (sim_knob(world, SIM_KNOB_tor) == 0)
        return a->order < b->order;
    const sim_vv *va = &world->files[a->file].levels[a->level].vv[0];
    const sim_vv *vb = &world->files[b->file].levels[b->level].vv[0];
    if (a_loaded != b_loaded)
        return a_loaded;
    if (va->cartridge != vb->cartridge)
        return va->cartridge < vb->cartridge;
    if (va->position != vb->position)
        return va->position < vb->position;
    if (va->position_offset != vb->position_offset)
        return va->position_offset < vb->position_offset;
    return a->order < b->order;
}

static double seek_s(const sim_world *world, int32_t from, int32_t to)
{
    double part = fabs((double)to - from) / fmax(1, sim_knob(world, SIM_KNOB_cartridge_files));

    return sim_knob(world, SIM_KNOB_seek_s) * fmin(1, part);
}

/* Fact 8.8: a mount when the cartridge changes, a seek by distance, then the bytes. */
static void start(sim_state *state, uint32_t drive, uint32_t slot, double at)
{
    sim_world *world = state->world;
    sim_drive *with = &world->tape.drives[drive];
    sim_request *request = &world->tape.requests[slot];
    const sim_level *level = &sim_file_at(state, request->file)->levels[request->level];
    double took = 0;

    SIM_TOUCH(state, *with);
    SIM_TOUCH(state, *request);
    for (uint32_t v = 0; v < level->vv_count; v++) {
        const sim_vv *vv = &level->vv[v];
        if (with->cartridge != vv->cartridge + 1) {
            for (unsigned d = 0; d < SIM_DRIVES; d++)
                if (world->tape.drives[d].cartridge == vv->cartridge + 1) {
                    SIM_TOUCH(state, world->tape.drives[d]);
                    world->tape.drives[d].cartridge = 0;
                }
            with->cartridge = vv->cartridge + 1;
            with->position = 0;
            sim_cartridge *cartridge = &world->tape.cartridges[vv->cartridge];
            SIM_TOUCH(state, *cartridge);
            cartridge->mounts++;
            took += sim_knob(world, SIM_KNOB_mount_s);
        }
        took += seek_s(world, with->position, vv->position);
        with->position = vv->position;
    }
    double rate = sim_knob(world, SIM_KNOB_rate);
    if (rate > 0)
        took += (double)request->moved / rate;
    request->state = SIM_REQUEST_ACTIVE;
    request->done_at = at + fmax(took, LEAST_S);
    with->request = slot + 1;
    with->free_at = request->done_at;
}

/* Gives idle drives what waits for one. */
static void assign(sim_state *state, double at)
{
    sim_world *world = state->world;
    sim_tape *tape = &world->tape;
    double knob = sim_knob(world, SIM_KNOB_drives);
    uint32_t drives = knob < 0 ? 0 : knob > SIM_DRIVES ? SIM_DRIVES : (uint32_t)knob;

    for (;;) {
        uint32_t idle = 0;
        for (uint32_t d = 0; d < drives; d++)
            idle += tape->drives[d].request == 0;
        if (idle == 0)
            return;
        uint32_t used = drives_used(tape, drives);
        uint32_t best = SIM_NONE;
        bool best_loaded = false;
        for (uint32_t slot = 0; slot < tape->requests_used; slot++) {
            sim_request *request = &tape->requests[slot];
            if (request->state != SIM_REQUEST_QUEUED)
                continue;
            const sim_file *file = sim_file_with_id(state, request->file, request->file_id);
            int level = file == NULL ? -1 : source_level(world, file, request->wanted);
            if (level < 0 || (request->kind == SIM_REQUEST_STAGE &&
                              file->levels[0].bytes >= request->wanted)) {
                /* Overwritten, lost, or on disk by now: there is nothing left to do. */
                call_back(state, request);
                free_request(state, slot);
                continue;
            }
            if ((uint32_t)level != request->level) {
                SIM_TOUCH(state, request->level);
                request->level = (uint32_t)level;
            }
            uint32_t cartridge = file->levels[level].vv[0].cartridge;
            bool loaded = false, taken = false;
            for (uint32_t d = 0; d < used; d++)
                if (tape->drives[d].cartridge == cartridge + 1) {
                    taken = tape->drives[d].request != 0;
                    loaded = !taken && d < drives;
                }
            if (taken || is_gated(tape, used, request))
                continue;
            if (best == SIM_NONE ||
                goes_before(world, request, loaded, &tape->requests[best], best_loaded)) {
                best = slot;
                best_loaded = loaded;
            }
        }
        if (best == SIM_NONE)
            return;
        const sim_request *request = &tape->requests[best];
        uint32_t cartridge =
            world->files[request->file].levels[request->level].vv[0].cartridge;
        uint32_t drive = SIM_NONE;
        for (uint32_t d = 0; d < drives; d++) {
            const sim_drive *candidate = &tape->drives[d];
            if (candidate->request != 0)
                continue;
            if (candidate->cartridge == cartridge + 1) {
                drive = d;
                break;
            }
            /* An empty one, else the one that has been idle for longest. */
            if (drive == SIM_NONE ||
                (tape->drives[drive].cartridge != 0 &&
                 (candidate->cartridge == 0 ||
                  candidate->free_at < tape->drives[drive].free_at)))
                drive = d;
        }
        start(state, drive, best, at);
    }
}

static uint32_t next_drive(const sim_tape *tape)
{
    uint32_t next = SIM_NONE;

    for (uint32_t d = 0; d < SIM_DRIVES; d++)
        if (tape->drives[d].request != 0 &&
            (next == SIM_NONE || tape->drives[d].free_at < tape->drives[next].free_at))
            next = d;
    return next;
}

static void set_next_due(sim_state *state)
{
    sim_tape *tape = &state->world->tape;
    uint32_t drive = next_drive(tape);

    SIM_TOUCH(state, tape->next_due);
    tape->next_due = drive == SIM_NONE ? NEVER : tape->drives[drive].free_at;
}

void tape_advance(sim_state *state)
{
    sim_tape *tape = &state->world->tape;
    double now;

    if (tape->requests_live == 0 || (now = sim_now(state->world)) < tape->next_due)
        return;
    for (;;) {
        uint32_t drive = next_drive(tape);
        if (drive == SIM_NONE || tape->drives[drive].free_at > now)
            break;
        double at = tape->drives[drive].free_at;
        complete(state, drive);
        assign(state, at);
        set_next_due(state);
        sim_checkpoint(state);
    }
}

const sim_request *tape_request_of(const sim_world *world, uint32_t index,
                                   const uint8_t *request_id)
{
    const sim_tape *tape = &world->tape;

    for (uint32_t slot = 0; slot < tape->requests_used; slot++) {
        const sim_request *request = &tape->requests[slot];
        if (request->state != SIM_REQUEST_FREE && request->kind == SIM_REQUEST_STAGE &&
            request->file == index && request->file_id == world->files[index].id &&
            (request_id == NULL || memcmp(request->request_id, request_id, 16) == 0))
            return request;
    }
    return NULL;
}

int tape_submit(sim_state *state, const recall_order *what, recall_ticket *ticket)
{
    sim_world *world = state->world;
    sim_tape *tape = &world->tape;
    const sim_file *file = sim_file_at(state, what->file);
    uint64_t wanted = sim_data_before(file, what->end);
    int level = source_level(world, file, wanted);
    uint32_t slot = 0;

    if (level < 0)
        return -EIO; /* damaged, or no level has it */
    while (slot < tape->requests_used && tape->requests[slot].state != SIM_REQUEST_FREE)
        slot++;
    if (slot == SIM_REQUESTS)
        return -EAGAIN; /* guess: what a full background queue (IG45 p.104) answers */
    sim_request *request = &tape->requests[slot];
    SIM_TOUCH(state, *request);
    SIM_TOUCH(state, tape->requests_used);
    SIM_TOUCH(state, tape->requests_live);
    SIM_TOUCH(state, tape->next_order);
    memset(request, 0, sizeof *request);
    request->state = SIM_REQUEST_QUEUED;
    request->kind = what->kind;
    request->file = what->file;
    request->file_id = file->id;
    request->level = (uint32_t)level;
    request->wanted = wanted;
    request->moved = what->kind == SIM_REQUEST_READ
                         ? wanted - sim_data_before(file, what->begin)
                         : wanted - (file->levels[0].bytes < wanted ? file->levels[0].bytes : wanted);
    request->order = tape->next_order++;
    request->batch = what->batch;
    request->open = what->open;
    if (what->request_id != NULL) {
        memcpy(request->request_id, what->request_id, 16);
    } else {
        /* One of its own: the library makes them when nobody gave one (guess). */
        memcpy(request->request_id, "recalled", 8);
        memcpy(request->request_id + 8, &request->order, 8);
    }
    if (what->callback_size > 0 && what->callback_size <= sizeof request->callback) {
        request->callback_size = what->callback_size;
        memcpy(request->callback, what->callback, what->callback_size);
    }
    if (slot == tape->requests_used)
        tape->requests_used++;
    tape->requests_live++;
    if (ticket != NULL) {
        ticket->slot = slot;
        ticket->order = request->order;
    }
    /* One constant id let a whole site stage one file at a time (fact 5). */
    for (uint32_t other = 0; other < tape->requests_used; other++)
        if (tape->requests[other].state != SIM_REQUEST_FREE &&
            tape->requests[other].file_id != request->file_id &&
            memcmp(tape->requests[other].request_id, request->request_id, 16) == 0 &&
            (request->batch == 0 || tape->requests[other].batch != request->batch)) {
            atomic_fetch_add(&world->counters.gated, 1);
            break;
        }
    return 0;
}

void tape_dispatch(sim_state *state)
{
    assign(state, sim_now(state->world));
    set_next_due(state);
}

int tape_wait(sim_state *state, const recall_ticket *ticket)
{
    uint32_t generation = atomic_load(&state->world->generation);

    for (;;) {
        sim_world *world = sim_lock(state);
        int rc = atomic_load(&world->generation) == generation ? 0 : -ESTALE;
        if (rc == 0)
            tape_advance(state);
        const sim_request *request = &world->tape.requests[ticket->slot];
        bool live = request->state != SIM_REQUEST_FREE && request->order == ticket->order;
        sim_unlock(state);
        if (rc < 0 || !live)
            return rc;
        sim_pause();
    }
}

/* A stage that is already on its way and brings enough is waited for, not repeated. */
static bool find_ticket(const sim_world *world, uint32_t index, uint64_t wanted,
                        recall_ticket *ticket)
{
    const sim_tape *tape = &world->tape;

    for (uint32_t slot = 0; slot < tape->requests_used; slot++) {
        const sim_request *request = &tape->requests[slot];
        if (request->state != SIM_REQUEST_FREE && request->kind == SIM_REQUEST_STAGE &&
            request->file == index && request->file_id == world->files[index].id &&
            request->wanted >= wanted) {
            ticket->slot = slot;
            ticket->order = request->order;
            return true;
        }
    }
    return false;
}

/*
 * Facts 5 and 8.9: reading what is on tape blocks. A tape-only class is read straight
 * from tape, and so is a class that never stages at open (MG73 p.179; that its reads
 * go to tape and leave nothing on disk is a guess); other files are staged, whole.
 */
int tape_make_readable(sim_call *call, uint64_t offset, uint64_t length)
{
    sim_state *state = call->state;
    uint32_t index = call->descriptor->file;
    uint64_t id = call->descriptor->file_id;

    for (;;) {
        recall_ticket ticket;
        sim_world *world = sim_lock(state);
        sim_file *file = sim_file_with_id(state, index, id);
        tape_advance(state);
        if (file == NULL || !tape_needs_recall(state, index, offset, length)) {
            sim_unlock(state);
            return file == NULL ? -ESTALE : 0;
        }
        const sim_class *class = cos_class(world, file->cos);
        bool direct = class == NULL || tape_only(world, file) ||
                      class->stage_code == SIM_STAGE_NONE;
        uint64_t end = end_of(file, offset, length);
        int rc = 0;
        if (direct || !find_ticket(world, index, sim_data_before(file, end), &ticket)) {
            recall_order what = {
                .kind = direct ? SIM_REQUEST_READ : SIM_REQUEST_STAGE,
                .file = index,
                .begin = offset,
                .end = direct ? end : file->size,
            };
            rc = tape_submit(state, &what, &ticket);
            if (rc == 0)
                tape_dispatch(state);
        }
        sim_unlock(state);
        if (rc == 0)
            rc = tape_wait(state, &ticket);
        if (rc < 0)
            return rc;
        if (direct) {
            sim_lock(state);
            file = sim_file_with_id(state, index, id);
            rc = file == NULL                                            ? -ESTALE
                 : tape_cannot_recall(state, index, offset, length) ? -EIO
                                                                          : 0;
            sim_unlock(state);
            return rc;
        }
    }
}

/*
 * Facts 5 and 8.7 (MG73 p.179). That EINPROGRESS comes in every case is a guess: the
 * facts name RetryStageInp on both sides of it.
 */
int tape_on_open(sim_call *call, uint32_t index, uint64_t file_id, int oflag)
{
    sim_state *state = call->state;
    recall_ticket ticket;

    if ((oflag & (O_NONBLOCK | O_TRUNC)) != 0)
        return 0;
    sim_world *world = sim_lock(state);
    sim_file *file = sim_file_with_id(state, index, file_id);
    tape_advance(state);
    const sim_class *class = file == NULL ? NULL : cos_class(world, file->cos);
    int rc = 0;
    bool block = false;
    if (class != NULL && class->media[0] == SIM_DISK &&
        class->stage_code != SIM_STAGE_NONE &&
        tape_needs_recall(state, index, 0, file->size)) {
        recall_order what = {
            .kind = SIM_REQUEST_STAGE, .file = index, .end = file->size};
        if (!find_ticket(world, index, sim_data_bytes(file), &ticket)) {
            rc = tape_submit(state, &what, &ticket);
            if (rc == 0)
                tape_dispatch(state);
        }
        block = rc == 0 && class->stage_code == SIM_STAGE_BLOCK;
        if (rc == 0 && class->stage_code == SIM_STAGE_BACKGROUND)
            rc = -EINPROGRESS;
    }
    sim_unlock(state);
    if (!block)
        return rc;
    rc = tape_wait(state, &ticket);
    if (rc < 0)
        return rc;
    sim_lock(state);
    file = sim_file_with_id(state, index, file_id);
    /* Purged again by now: the open is good, and reads will wait. */
    if (file != NULL && tape_cannot_recall(state, index, 0, file->size))
        rc = -EIO;
    sim_unlock(state);
    return rc;
}

/* Fact 5: after hpss_Stage with BFS_ASYNCH_CALL the close blocks (DSI stage.c). */
void tape_on_close(sim_call *call)
{
    sim_state *state = call->state;
    uint32_t open = call->descriptor->open + 1;

    for (;;) {
        recall_ticket ticket = {.slot = SIM_NONE};
        sim_world *world = sim_lock(state);
        tape_advance(state);
        for (uint32_t slot = 0; slot < world->tape.requests_used; slot++) {
            const sim_request *request = &world->tape.requests[slot];
            if (request->state != SIM_REQUEST_FREE && request->open == open &&
                request->file_id == call->descriptor->file_id) {
                ticket.slot = slot;
                ticket.order = request->order;
            }
        }
        sim_unlock(state);
        if (ticket.slot == SIM_NONE || tape_wait(state, &ticket) < 0)
            return;
    }
}

/* --- what ls and counters show -------------------------------------------------- */

void tape_levels_json(sim_state *state, uint32_t index, sim_text *text)
{
    const sim_file *file = sim_file_at(state, index);
    static const char *const words[] = {"none", "disk", "tape"};

    sim_print(text, "[");
    for (unsigned l = 0; l < SIM_LEVELS; l++) {
        const sim_level *level = &file->levels[l];
        uint32_t media = tape_media(state->world, file, l);
        if (media == SIM_UNUSED)
            break;
        sim_print(text, "%s{\"media\": \"%s\", \"bytes\": %llu, \"exists\": %s",
                  l > 0 ? ", " : "", words[media], (unsigned long long)level->bytes,
                  level->exists ? "true" : "false");
        if (media == SIM_TAPE && level->vv_count > 0) {
            sim_print(text, ", \"cartridge\": ");
            sim_print_quoted(text,
                             state->world->tape.cartridges[level->vv[0].cartridge].label);
            sim_print(text, ", \"position\": %d, \"offset\": %llu, \"volumes\": %u",
                      level->vv[0].position,
                      (unsigned long long)level->vv[0].position_offset, level->vv_count);
        } else {
            sim_print(text, ", \"cartridge\": \"\", \"position\": -1, \"offset\": 0, "
                            "\"volumes\": 0");
        }
        sim_print(text, "}");
    }
    sim_print(text, "]");
}

void tape_mounts_json(sim_state *state, sim_text *text)
{
    const sim_tape *tape = &state->world->tape;
    const char *separator = "";

    sim_print(text, "{");
    for (uint32_t c = 0; c < tape->cartridges_used; c++)
        if (tape->cartridges[c].mounts > 0) {
            sim_print(text, "%s", separator);
            sim_print_quoted(text, tape->cartridges[c].label);
            sim_print(text, ": %u", tape->cartridges[c].mounts);
            separator = ", ";
        }
    sim_print(text, "}");
}

void tape_reset_mounts(sim_state *state)
{
    sim_tape *tape = &state->world->tape;

    for (uint32_t c = 0; c < tape->cartridges_used; c++) {
        SIM_TOUCH(state, tape->cartridges[c]);
        tape->cartridges[c].mounts = 0;
    }
}
