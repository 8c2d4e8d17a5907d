/*
 * Names: directories, links, symbolic links, and the calls on them (fact 8.13).
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hpss_api.h"

#define DEPTH (SIM_PATH / 2)
#define SYMLINKS 8

static uint32_t hash_of(uint32_t parent, const char *name)
{
    uint32_t hash = 2166136261u ^ parent * 2654435761u;

    for (; *name != '\0'; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

static uint32_t entry_of(const sim_world *world, uint32_t parent, const char *name)
{
    uint32_t hash = hash_of(parent, name);
    uint32_t i = world->buckets[hash % SIM_BUCKETS];

    while (i != 0) {
        const sim_entry *entry = &world->entries[i - 1];

        if (entry->hash == hash && entry->parent == parent &&
            strcmp(entry->name, name) == 0)
            return i - 1;
        i = entry->next_in_bucket;
    }
    return SIM_NONE;
}

static void touch_time(sim_state *state, uint32_t directory)
{
    sim_file *file = sim_file_at(state, directory);

    SIM_TOUCH(state, file->mtime_s);
    SIM_TOUCH(state, file->ctime_s);
    file->mtime_s = file->ctime_s = sim_now_s(state->world);
}

static void changed(sim_state *state, sim_file *file)
{
    SIM_TOUCH(state, file->ctime_s);
    file->ctime_s = sim_now_s(state->world);
}

int sim_name_add(sim_state *state, uint32_t parent, const char *name, uint32_t file,
                 bool hard_link)
{
    sim_world *world = state->world;
    sim_file *directory = &world->files[parent];
    uint32_t i = world->free_entry;

    if (i == SIM_NONE) {
        if (world->entries_used == SIM_ENTRIES)
            return -ENOSPC;
        SIM_TOUCH(state, world->entries_used);
        i = world->entries_used++;
        SIM_TOUCH(state, world->entries[i]);
    } else {
        SIM_TOUCH(state, world->free_entry);
        SIM_TOUCH(state, world->entries[i]);
        world->free_entry = world->entries[i].next;
    }
    sim_entry *entry = &world->entries[i];
    memset(entry, 0, sizeof *entry);
    entry->file = file;
    entry->parent = parent;
    entry->hash = hash_of(parent, name);
    entry->hard_link = hard_link;
    entry->next = SIM_NONE;
    entry->previous = directory->last_child;
    snprintf(entry->name, sizeof entry->name, "%s", name);
    uint32_t *bucket = &world->buckets[entry->hash % SIM_BUCKETS];
    SIM_TOUCH(state, *bucket);
    entry->next_in_bucket = *bucket;
    *bucket = i + 1;
    SIM_TOUCH(state, *directory);
    if (directory->last_child == SIM_NONE)
        directory->first_child = i;
    else {
        SIM_TOUCH(state, world->entries[directory->last_child].next);
        world->entries[directory->last_child].next = i;
    }
    directory->last_child = i;
    directory->children++;
    SIM_TOUCH(state, world->files[file].links);
    world->files[file].links++;
    if (world->files[file].kind == SIM_DIRECTORY) {
        world->files[file].links = 2;
        directory->links++;
    }
    touch_time(state, parent);
    return 0;
}

/* The entry only: links are as they were. */
static void detach(sim_state *state, uint32_t index)
{
    sim_world *world = state->world;
    sim_entry *entry = &world->entries[index];
    sim_file *directory = &world->files[entry->parent];
    uint32_t *link = &world->buckets[entry->hash % SIM_BUCKETS];

    while (*link != index + 1)
        link = &world->entries[*link - 1].next_in_bucket;
    SIM_TOUCH(state, *link);
    *link = entry->next_in_bucket;
    SIM_TOUCH(state, *directory);
    if (entry->previous == SIM_NONE)
        directory->first_child = entry->next;
    else {
        SIM_TOUCH(state, world->entries[entry->previous].next);
        world->entries[entry->previous].next = entry->next;
    }
    if (entry->next == SIM_NONE)
        directory->last_child = entry->previous;
    else {
        SIM_TOUCH(state, world->entries[entry->next].previous);
        world->entries[entry->next].previous = entry->previous;
    }
    directory->children--;
    if (world->files[entry->file].kind == SIM_DIRECTORY)
        directory->links--;
    touch_time(state, entry->parent);
    SIM_TOUCH(state, *entry);
    SIM_TOUCH(state, world->free_entry);
    entry->file = SIM_NONE;
    entry->next = world->free_entry;
    world->free_entry = index;
}

void sim_name_remove(sim_state *state, uint32_t entry)
{
    sim_world *world = state->world;
    uint32_t index = world->entries[entry].file;
    sim_file *file = &world->files[index];

    detach(state, entry);
    SIM_TOUCH(state, file->links);
    file->links -= file->kind == SIM_DIRECTORY ? file->links : 1;
    changed(state, file);
    sim_file_drop(state, index);
}

/* One step: the component before *rest's next slash. */
static int next_component(const char **rest, char name[static SIM_NAME])
{
    size_t length;

    while (**rest == '/')
        (*rest)++;
    length = strcspn(*rest, "/");
    if (length >= SIM_NAME)
        return -ENAMETOOLONG;
    memcpy(name, *rest, length);
    name[length] = '\0';
    *rest += length;
    while (**rest == '/')
        (*rest)++;
    return 0;
}

int sim_locate(sim_state *state, const char *path, unsigned flags, sim_place *place)
{
    sim_world *world = state->world;
    char work[2 * SIM_PATH + 2], name[SIM_NAME];
    uint32_t stack[DEPTH];
    unsigned depth = 0, symlinks = 0;

    if (path == NULL)
        return -EFAULT;
    if (path[0] == '\0')
        return -ENOENT; /* fact 2.7: TQ on hpss_Open */
    if (strlen(path) >= SIM_PATH)
        return -ENAMETOOLONG;
    strcpy(work, path);
    stack[0] = world->root;
    place->file = place->parent = world->root;
    place->entry = SIM_NONE;
    place->name[0] = '\0';
    const char *rest = work;
    for (;;) {
        const sim_file *directory = &world->files[stack[depth]];
        int rc = next_component(&rest, name);

        if (rc < 0)
            return rc;
        if (name[0] == '\0')
            return 0;
        if (directory->kind != SIM_DIRECTORY)
            return -ENOTDIR;
        if (!sim_permitted(directory, 1))
            return -EACCES;
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            depth -= depth > 0;
            place->file = stack[depth];
            place->parent = stack[depth > 0 ? depth - 1 : 0];
            place->entry = SIM_NONE;
            place->name[0] = '\0';
            continue;
        }
        place->parent = stack[depth];
        place->entry = entry_of(world, place->parent, name);
        strcpy(place->name, name);
        if (place->entry == SIM_NONE) {
            place->file = SIM_NONE;
            return *rest == '\0' ? 0 : -ENOENT;
        }
        place->file = world->entries[place->entry].file;
        const sim_file *file = &world->files[place->file];
        if (file->kind == SIM_SYMLINK && (*rest != '\0' || (flags & SIM_FOLLOW) != 0)) {
            char longer[2 * SIM_PATH + 2];

            if (++symlinks > SYMLINKS)
                return -ELOOP;
            if (snprintf(longer, sizeof longer, "%s%s%s", world->targets[file->target],
                         *rest == '\0' ? "" : "/", rest) >= (int)sizeof longer)
                return -ENAMETOOLONG;
            strcpy(work, longer);
            rest = work;
            if (work[0] == '/')
                depth = 0;
            continue;
        }
        if (++depth == DEPTH)
            return -ENAMETOOLONG;
        stack[depth] = place->file;
    }
}

int sim_find(sim_state *state, const char *path, unsigned flags, uint32_t *file,
             uint32_t *entry)
{
    sim_place place;
    int rc = sim_locate(state, path, flags, &place);

    if (rc == 0 && place.file == SIM_NONE)
        rc = -ENOENT;
    if (rc == 0) {
        *file = place.file;
        if (entry != NULL)
            *entry = place.entry;
    }
    return rc;
}

int sim_make(sim_state *state, const sim_place *place, uint32_t kind, uint32_t mode,
             uint32_t *file)
{
    if (place->file != SIM_NONE)
        return -EEXIST;
    if (!sim_permitted(sim_file_at(state, place->parent), 2))
        return -EACCES;
    uint32_t made = sim_file_new(state, kind, mode);
    if (made == SIM_NONE)
        return -ENOSPC;
    sim_file *object = sim_file_at(state, made);
    uint32_t uid = sim_this_thread()->uid;
    object->uid = uid == 0 ? SIM_UID : uid;
    int rc = sim_name_add(state, place->parent, place->name, made, false);
    if (rc < 0)
        sim_file_drop(state, made);
    else
        *file = made;
    return rc;
}

int sim_make_parents(sim_state *state, const char *path)
{
    char above[SIM_PATH];
    sim_place place;
    uint32_t made = SIM_NONE;

    if (path[0] != '/')
        return -EINVAL;
    if (strlen(path) >= sizeof above)
        return -ENAMETOOLONG;
    strcpy(above, path);
    for (char *slash = strchr(above + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int rc = sim_locate(state, above, SIM_FOLLOW, &place);
        if (rc == 0 && place.file == SIM_NONE)
            rc = sim_make(state, &place, SIM_DIRECTORY, 0755, &made);
        if (rc < 0)
            return rc;
        *slash = '/';
    }
    return 0;
}

static int each_below(sim_state *state, uint32_t index,
                      int (*visit)(sim_state *, uint32_t, void *), void *data)
{
    sim_world *world = state->world;
    int rc = 0;

    if (world->files[index].kind == SIM_FILE)
        return visit(state, index, data);
    if (world->files[index].kind != SIM_DIRECTORY)
        return 0;
    uint32_t entry = world->files[index].first_child;
    while (entry != SIM_NONE && rc >= 0) {
        uint32_t next = world->entries[entry].next;

        rc = each_below(state, world->entries[entry].file, visit, data);
        entry = next;
    }
    return rc;
}

int sim_each_file(sim_state *state, const char *path,
                  int (*visit)(sim_state *, uint32_t, void *), void *data)
{
    uint32_t file = SIM_NONE;
    int rc = sim_find(state, path, SIM_FOLLOW, &file, NULL);

    return rc < 0 ? rc : each_below(state, file, visit, data);
}

/* --- status --------------------------------------------------------------------- */

static void fill_stat(const sim_file *file, hpss_stat_t *status)
{
    static const mode_t kinds[] = {
        [SIM_FILE] = S_IFREG, [SIM_DIRECTORY] = S_IFDIR, [SIM_SYMLINK] = S_IFLNK};

    memset(status, 0, sizeof *status);
    status->st_nlink = (unsigned16)file->links;
    status->hpss_st_atime = file->atime_s;
    status->hpss_st_mtime = file->mtime_s;
    status->hpss_st_ctime = file->ctime_s;
    status->st_mode = kinds[file->kind] | file->mode;
    status->st_ino = file->id;
    status->st_uid = file->uid;
    status->st_gid = file->gid;
    status->st_size = file->size;
    status->st_blksize = 1 << 20;
    status->st_blocks = (unsigned32)((file->size + 511) / 512);
}

static int stat_path(enum sim_function function, const char *path, unsigned flags,
                     hpss_stat_t *status)
{
    sim_call call;
    uint32_t file = SIM_NONE;
    int rc = sim_enter(&call, function, path);

    if (rc == 0 && status == NULL)
        rc = -EFAULT;
    if (rc == 0) {
        sim_lock(call.state);
        rc = sim_find(call.state, path, flags, &file, NULL);
        if (rc == 0)
            fill_stat(sim_file_at(call.state, file), status);
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

int hpss_Stat(HPSS_SIM_CONST char *path, hpss_stat_t *status)
{
    return stat_path(SIM_Stat, path, SIM_FOLLOW, status);
}

int hpss_Lstat(HPSS_SIM_CONST char *path, hpss_stat_t *status)
{
    return stat_path(SIM_Lstat, path, 0, status);
}

int hpss_Fstat(int fd, hpss_stat_t *status)
{
    sim_call call;
    int rc = sim_enter_fd(&call, SIM_Fstat, fd);

    if (rc == 0 && status == NULL)
        rc = -EFAULT;
    if (rc == 0) {
        sim_lock(call.state);
        sim_file *file = sim_file_with_id(call.state, call.descriptor->file,
                                          call.descriptor->file_id);
        if (file == NULL)
            rc = -ESTALE;
        else
            fill_stat(file, status);
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

static bool is_owner(const sim_file *file)
{
    uint32_t uid = sim_this_thread()->uid;

    return uid == 0 || uid == file->uid;
}

/* Looks the path up for a change of its object: with the lock if it is 0. */
static int begin_change(sim_call *call, enum sim_function function, const char *path,
                        sim_file **file)
{
    uint32_t index = SIM_NONE;
    int rc = sim_enter(call, function, path);

    if (rc < 0)
        return rc;
    sim_lock(call->state);
    rc = sim_find(call->state, path, SIM_FOLLOW, &index, NULL);
    if (rc == 0 && !is_owner(sim_file_at(call->state, index)))
        rc = -EPERM;
    if (rc < 0) {
        sim_unlock(call->state);
        return rc;
    }
    *file = sim_file_at(call->state, index);
    SIM_TOUCH(call->state, **file);
    return 0;
}

static int end_change(sim_call *call, sim_file *file)
{
    file->ctime_s = sim_now_s(call->state->world);
    sim_unlock(call->state);
    return (int)sim_leave(call, 0);
}

int hpss_Utime(HPSS_SIM_CONST char *path, HPSS_SIM_CONST struct utimbuf *times)
{
    sim_call call;
    sim_file *file;
    int rc = begin_change(&call, SIM_Utime, path, &file);

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    /* 32 bits, unsigned: what does not fit is cut (guess). */
    file->atime_s = times == NULL ? sim_now_s(call.state->world) : (uint32_t)times->actime;
    file->mtime_s = times == NULL ? sim_now_s(call.state->world) : (uint32_t)times->modtime;
    return end_change(&call, file);
}

int hpss_Chmod(HPSS_SIM_CONST char *path, mode_t mode)
{
    sim_call call;
    sim_file *file;
    int rc = begin_change(&call, SIM_Chmod, path, &file);

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    file->mode = mode & 07777;
    return end_change(&call, file);
}

int hpss_Chown(HPSS_SIM_CONST char *path, uid_t uid, gid_t gid)
{
    sim_call call;
    sim_file *file;
    int rc = begin_change(&call, SIM_Chown, path, &file);

    if (rc < 0)
        return (int)sim_leave(&call, rc);
    if (uid != (uid_t)-1)
        file->uid = uid;
    if (gid != (gid_t)-1)
        file->gid = gid;
    return end_change(&call, file);
}

int hpss_Access(HPSS_SIM_CONST char *path, int mode)
{
    sim_call call;
    uint32_t file = SIM_NONE;
    int rc = sim_enter(&call, SIM_Access, path);

    if (rc == 0) {
        sim_lock(call.state);
        rc = sim_find(call.state, path, SIM_FOLLOW, &file, NULL);
        if (rc == 0 && !sim_permitted(sim_file_at(call.state, file), (unsigned)mode & 7))
            rc = -EACCES;
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

/* --- making and removing names -------------------------------------------------- */

static int make_at(sim_state *state, const char *path, uint32_t kind, uint32_t mode,
                   uint32_t *file)
{
    sim_place place;
    int rc = sim_locate(state, path, 0, &place);

    return rc < 0 ? rc : sim_make(state, &place, kind, mode, file);
}

int hpss_Mkdir(HPSS_SIM_CONST char *path, mode_t mode)
{
    sim_call call;
    uint32_t file = SIM_NONE;
    int rc = sim_enter(&call, SIM_Mkdir, path);

    if (rc == 0) {
        sim_lock(call.state);
        rc = make_at(call.state, path, SIM_DIRECTORY, mode & 0777 & ~sim_this_thread()->umask,
                     &file);
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

static int new_target(sim_state *state, const char *contents, uint32_t *target)
{
    sim_world *world = state->world;

    if (contents == NULL)
        return -EFAULT;
    if (contents[0] == '\0')
        return -ENOENT;
    if (strlen(contents) >= SIM_PATH)
        return -ENAMETOOLONG;
    for (uint32_t i = 0; i < SIM_TARGETS; i++) {
        if (world->targets[i][0] != '\0')
            continue;
        SIM_TOUCH(state, world->targets[i]);
        strcpy(world->targets[i], contents);
        *target = i;
        return 0;
    }
    return -ENOSPC;
}

int sim_symlink(sim_state *state, const char *contents, const char *path)
{
    uint32_t file = SIM_NONE, target = SIM_NONE;
    int rc = make_at(state, path, SIM_SYMLINK, 0777, &file);

    if (rc < 0)
        return rc;
    sim_file *link = sim_file_at(state, file);
    rc = new_target(state, contents, &target);
    if (rc == 0) {
        link->target = target;
        link->size = strlen(contents);
    } else {
        sim_place place;

        if (sim_locate(state, path, 0, &place) == 0)
            sim_name_remove(state, place.entry);
    }
    return rc;
}

int hpss_Symlink(HPSS_SIM_CONST char *contents, HPSS_SIM_CONST char *path)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_Symlink, path);

    if (rc == 0) {
        sim_lock(call.state);
        rc = sim_symlink(call.state, contents, path);
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

/* Cut to the buffer, and without a NUL, as readlink(2) (guess). */
int hpss_Readlink(HPSS_SIM_CONST char *path, char *contents, size_t size)
{
    sim_call call;
    uint32_t file = SIM_NONE;
    int rc = sim_enter(&call, SIM_Readlink, path);

    if (rc == 0 && contents == NULL)
        rc = -EFAULT;
    if (rc == 0) {
        sim_world *world = sim_lock(call.state);
        rc = sim_find(call.state, path, 0, &file, NULL);
        if (rc == 0 && world->files[file].kind != SIM_SYMLINK)
            rc = -EINVAL;
        if (rc == 0) {
            const char *target = world->targets[world->files[file].target];
            size_t length = strlen(target);

            rc = (int)(length < size ? length : size);
            memcpy(contents, target, (size_t)rc);
        }
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

/*
 * A second name of a file: its Type is HARD_LINK, also when it has become the only one
 * (fact 8.13; the latter a guess). EEXIST if the name is taken.
 */
int sim_link_names(sim_state *state, const char *old, const char *new)
{
    sim_place place;
    uint32_t file = SIM_NONE;
    int rc = sim_find(state, old, 0, &file, NULL);

    if (rc == 0)
        rc = sim_locate(state, new, 0, &place);
    if (rc < 0)
        return rc;
    if (place.file != SIM_NONE)
        return -EEXIST;
    if (sim_file_at(state, file)->kind != SIM_FILE)
        return -EPERM;
    if (!sim_permitted(sim_file_at(state, place.parent), 2))
        return -EACCES;
    if (sim_file_at(state, file)->links >= UINT16_MAX)
        return -EMLINK;
    rc = sim_name_add(state, place.parent, place.name, file, true);
    if (rc == 0)
        changed(state, sim_file_at(state, file));
    return rc;
}

int hpss_Link(HPSS_SIM_CONST char *old, HPSS_SIM_CONST char *new)
{
    sim_call call;
    int rc = sim_enter_two(&call, SIM_Link, old, new);

    if (rc == 0) {
        sim_lock(call.state);
        rc = sim_link_names(call.state, old, new);
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

static bool is_below(const sim_world *world, uint32_t directory, uint32_t above)
{
    while (directory != above && directory != world->root) {
        uint32_t parent = world->root;

        for (uint32_t i = 0; i < world->entries_used; i++)
            if (world->entries[i].file == directory) {
                parent = world->entries[i].parent;
                break;
            }
        directory = parent;
    }
    return directory == above;
}

static int check_replacing(const sim_world *world, const sim_file *moved,
                           const sim_file *replaced)
{
    bool replaces = sim_knob(world, SIM_KNOB_rename_replaces) != 0;

    if (moved->kind == SIM_DIRECTORY && replaced->kind != SIM_DIRECTORY)
        return -ENOTDIR;
    if (moved->kind != SIM_DIRECTORY && replaced->kind == SIM_DIRECTORY)
        return -EISDIR;
    if (replaced->kind == SIM_DIRECTORY && replaced->children > 0)
        return -ENOTEMPTY;
    return replaces ? 0 : -EEXIST;
}

static uint32_t subdirectories(const sim_world *world, const sim_file *directory)
{
    uint32_t count = 0;

    for (uint32_t i = directory->first_child; i != SIM_NONE; i = world->entries[i].next)
        count += world->files[world->entries[i].file].kind == SIM_DIRECTORY;
    return count;
}

/* Over a file that is there: replaces it, or EEXIST by a knob (not confirmed: guess). */
static int rename_names(sim_state *state, const char *old, const char *new)
{
    sim_world *world = state->world;
    sim_place from, to;
    int rc = sim_locate(state, old, 0, &from);

    if (rc == 0 && from.file == SIM_NONE)
        rc = -ENOENT;
    if (rc == 0)
        rc = sim_locate(state, new, 0, &to);
    if (rc < 0)
        return rc;
    if (from.entry == SIM_NONE || to.name[0] == '\0')
        return -EBUSY; /* "/" */
    if (from.file == to.file)
        return 0; /* two names of one file: nothing is done (POSIX; guess) */
    if (!sim_permitted(&world->files[from.parent], 2) ||
        !sim_permitted(&world->files[to.parent], 2))
        return -EACCES;
    if (world->files[from.file].kind == SIM_DIRECTORY &&
        is_below(world, to.parent, from.file))
        return -EINVAL;
    if (to.file != SIM_NONE)
        rc = check_replacing(world, &world->files[from.file], &world->files[to.file]);
    if (rc < 0)
        return rc;
    bool hard_link = world->entries[from.entry].hard_link;
    /* The moved file must not be dropped while it has no name. */
    sim_file *moved = &world->files[from.file];
    SIM_TOUCH(state, *moved);
    moved->opens++;
    sim_name_remove(state, from.entry);
    if (to.file != SIM_NONE)
        sim_name_remove(state, to.entry);
    /* There is room: an entry has just been freed. */
    sim_name_add(state, to.parent, to.name, from.file, hard_link);
    if (moved->kind == SIM_DIRECTORY)
        moved->links = 2 + subdirectories(world, moved);
    moved->opens--;
    changed(state, moved);
    return 0;
}

int hpss_Rename(HPSS_SIM_CONST char *old, HPSS_SIM_CONST char *new)
{
    sim_call call;
    int rc = sim_enter_two(&call, SIM_Rename, old, new);

    if (rc == 0) {
        sim_lock(call.state);
        rc = rename_names(call.state, old, new);
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

static int remove_name(sim_state *state, const char *path, bool directory)
{
    sim_place place;
    int rc = sim_locate(state, path, 0, &place);

    if (rc == 0 && place.file == SIM_NONE)
        rc = -ENOENT;
    if (rc < 0)
        return rc;
    const sim_file *file = sim_file_at(state, place.file);
    if (place.entry == SIM_NONE)
        return -EBUSY;
    if (!directory && file->kind == SIM_DIRECTORY)
        return -EISDIR;
    if (directory && file->kind != SIM_DIRECTORY)
        return -ENOTDIR;
    if (directory && file->children > 0)
        return -ENOTEMPTY;
    if (!sim_permitted(sim_file_at(state, place.parent), 2))
        return -EACCES;
    sim_name_remove(state, place.entry);
    return 0;
}

/* Needs the directory's permission only; of an open file the bytes stay readable. */
int hpss_Unlink(HPSS_SIM_CONST char *path)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_Unlink, path);

    if (rc == 0) {
        sim_lock(call.state);
        rc = remove_name(call.state, path, false);
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

int hpss_Rmdir(HPSS_SIM_CONST char *path)
{
    sim_call call;
    int rc = sim_enter(&call, SIM_Rmdir, path);

    if (rc == 0) {
        sim_lock(call.state);
        rc = remove_name(call.state, path, true);
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}
