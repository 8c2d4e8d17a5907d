/*
 * Classes of service: chosen by hints and priorities (facts 6 and 8.4), changed by
 * hpss_SetCOSByHints and hpss_FileSetCOS.
 */
#include "cos.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const sim_class *cos_class(const sim_world *world, uint32_t id)
{
    for (unsigned i = 0; i < SIM_CLASSES; i++)
        if (id != 0 && world->tape.classes[i].id == id)
            return &world->tape.classes[i];
    return NULL;
}

/* How much a priority weighs; a zeroed structure asks for nothing (guess). */
static unsigned weight(unsigned32 priority)
{
    switch (priority) {
    case LOWEST_PRIORITY:
        return 1;
    case LOW_PRIORITY:
        return 2;
    case DESIRED_PRIORITY:
        return 4;
    case HIGHLY_DESIRED_PRIORITY:
        return 8;
    case REQUIRED_PRIORITY:
        return 1000;
    default:
        return 0;
    }
}

/*
 * Facts: COSId REQUIRED takes that class; MaxFileSize REQUIRED refuses a class whose
 * maximum is below it, HIGHLY_DESIRED does not (DSI stor.c). Guesses: MinFileSize
 * fits a class whose minimum is not above it; of equals the one with the smallest
 * maximum wins, then the default one, then the lowest id; the code of a refusal; all
 * hints but COSId, COSName, MinFileSize and MaxFileSize are left out of account.
 */
int cos_choose(const sim_world *world, const hpss_cos_hints_t *hints,
               const hpss_cos_priorities_t *priorities, uint32_t *id)
{
    uint32_t by_default = (uint32_t)sim_knob(world, SIM_KNOB_default_cos);
    const sim_class *best = NULL;
    unsigned best_score = 0;

    if (hints == NULL || priorities == NULL ||
        (weight(priorities->COSIdPriority) == 0 && weight(priorities->COSNamePriority) == 0 &&
         weight(priorities->MinFileSizePriority) == 0 &&
         weight(priorities->MaxFileSizePriority) == 0)) {
        /* Without a size HPSS chooses with no size knowledge (fact 6). */
        *id = by_default;
        return cos_class(world, by_default) == NULL ? -EINVAL : 0;
    }
    unsigned id_weight = weight(priorities->COSIdPriority);
    unsigned name_weight = weight(priorities->COSNamePriority);
    unsigned min_weight = weight(priorities->MinFileSizePriority);
    unsigned max_weight = weight(priorities->MaxFileSizePriority);
    for (unsigned i = 0; i < SIM_CLASSES; i++) {
        const sim_class *class = &world->tape.classes[i];
        if (class->id == 0)
            continue;
        bool id_fits = class->id == hints->COSId;
        bool name_fits = strncmp(class->name, hints->COSName, sizeof class->name) == 0;
        bool min_fits = class->minimum_size <= hints->MinFileSize;
        bool max_fits = hints->MaxFileSize <= class->maximum_size;
        if ((id_weight == 1000 && !id_fits) || (name_weight == 1000 && !name_fits) ||
            (min_weight == 1000 && !min_fits) || (max_weight == 1000 && !max_fits))
            continue;
        unsigned score = 1 + (id_fits ? id_weight : 0) + (name_fits ? name_weight : 0) +
                         (min_fits ? min_weight : 0) + (max_fits ? max_weight : 0);
        bool better = best == NULL || score > best_score;
        if (!better && score == best_score)
            better = class->maximum_size < best->maximum_size ||
                     (class->maximum_size == best->maximum_size &&
                      best->id != by_default &&
                      (class->id == by_default || class->id < best->id));
        if (better) {
            best = class;
            best_score = score;
        }
    }
    if (best == NULL)
        return -EINVAL;
    *id = best->id;
    return 0;
}

static unsigned32 stage_code(const sim_class *class)
{
    switch (class->stage_code) {
    case SIM_STAGE_BLOCK:
        return COS_STAGE_ON_OPEN;
    case SIM_STAGE_ASYNC:
        return COS_STAGE_ON_OPEN_ASYNC;
    case SIM_STAGE_BACKGROUND:
        return COS_STAGE_ON_OPEN_BACKGROUND;
    default:
        return COS_STAGE_NO_STAGE;
    }
}

void cos_fill_hints(const sim_world *world, const sim_file *file, hpss_cos_hints_t *out)
{
    const sim_class *class = cos_class(world, file->cos);

    if (out == NULL)
        return;
    memset(out, 0, sizeof *out);
    out->COSId = file->cos;
    out->FamilyId = file->family;
    if (class == NULL)
        return;
    snprintf(out->COSName, sizeof out->COSName, "%s", class->name);
    out->MinFileSize = class->minimum_size;
    out->MaxFileSize = class->maximum_size;
    out->StageCode = stage_code(class);
    out->StripeWidth = 1;
    out->StripeLength = out->OptimumAccessSize = 1 << 20;
}

static void fill_class(const sim_class *class, hpss_cos_md_t *out)
{
    memset(out, 0, sizeof *out);
    out->COSId = class->id;
    out->HierId = class->id;
    snprintf(out->COSName, sizeof out->COSName, "%s", class->name);
    out->MinFileSize = class->minimum_size;
    out->MaxFileSize = class->maximum_size;
    out->StageCode = stage_code(class);
    out->OptimumAccessSize = 1 << 20;
}

/* With the lock: all its data is at the top of the new hierarchy. */
static void set_class(sim_state *state, uint32_t index, uint32_t id)
{
    sim_file *file = sim_file_at(state, index);

    SIM_TOUCH(state, *file);
    file->cos = id;
    memset(file->levels, 0, sizeof file->levels);
    tape_on_write(state, index, 0);
}

/*
 * Fact 6: what an overwrite with O_TRUNC needs, as open does not change the class of
 * a file that is there. A file with data is refused (guess, and its code).
 */
int hpss_SetCOSByHints(int Fildes, unsigned32 Flags,
                       HPSS_SIM_CONST hpss_cos_hints_t *HintsPtr,
                       HPSS_SIM_CONST hpss_cos_priorities_t *PrioPtr,
                       hpss_cos_md_t *COSPtr)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_SetCOSByHints, Fildes);
    uint32_t id;

    (void)Flags;
    if (rc < 0)
        return (int)sim_leave(&call, rc);
    sim_world *world = sim_lock(call.state);
    sim_file *file = sim_file_with_id(call.state, call.descriptor->file,
                                      call.descriptor->file_id);
    if (HintsPtr == NULL || PrioPtr == NULL || COSPtr == NULL)
        rc = -EFAULT;
    else if (file == NULL)
        rc = -ESTALE;
    else if (file->kind != SIM_FILE || file->size > 0)
        rc = -EINVAL;
    else
        rc = cos_choose(world, HintsPtr, PrioPtr, &id);
    if (rc == 0 && sim_knob(world, SIM_KNOB_full) != 0)
        rc = -ENOSPC;
    if (rc == 0) {
        set_class(call.state, call.descriptor->file, id);
        fill_class(cos_class(world, id), COSPtr);
    }
    sim_unlock(call.state);
    return (int)sim_leave(&call, rc);
}

/*
 * IBMPY and SOH have the call; that the data moves at once, and that a file whose data
 * is on tape only is refused with EBUSY, are guesses.
 */
int hpss_FileSetCOS(HPSS_SIM_CONST char *Path, unsigned32 COSId, unsigned32 StreamId)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_FileSetCOS, Path);
    uint32_t index;

    (void)StreamId;
    if (rc < 0)
        return (int)sim_leave(&call, rc);
    sim_world *world = sim_lock(call.state);
    rc = sim_find(call.state, Path, SIM_FOLLOW, &index, NULL);
    if (rc == 0) {
        sim_file *file = sim_file_at(call.state, index);
        if (file->kind != SIM_FILE || cos_class(world, COSId) == NULL)
            rc = -EINVAL;
        else if (tape_needs_recall(call.state, index, 0, file->size))
            rc = -EBUSY;
        else if (file->cos != COSId)
            set_class(call.state, index, COSId);
    }
    sim_unlock(call.state);
    return (int)sim_leave(&call, rc);
}
