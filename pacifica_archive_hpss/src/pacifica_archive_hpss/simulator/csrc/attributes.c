/*
 * User-defined attributes (fact 1.1, 8.13): kept in STATE/data/<id>.uda as
 * "key NUL value NUL" and replaced whole.
 *
 * Keys begin with /hpss; none is ENOENT; values come back behind an XML header, which
 * hpss_ChompXMLHeader takes off (DSI, IBMPY). Guesses: the header's text; that a value
 * is text of XML, so that < and & in it are refused; what is said when only some of
 * the keys asked for are there (the others are empty); the code of a small buffer.
 */
#include "sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hpss_api.h"
#include "hpss_xml.h"

#define HEADER "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n"

typedef struct {
    char *bytes; /* of the file */
    size_t size;
} attributes;

static int load(sim_state *state, const sim_file *file, attributes *all)
{
    struct stat status;
    char name[32];
    int rc = 0;

    *all = (attributes){NULL, 0};
    if (file->attributes == 0)
        return 0;
    sim_data_name(name, file->id, ".uda");
    int fd = openat(state->data_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -EIO;
    if (fstat(fd, &status) < 0)
        rc = -EIO;
    else
        all->bytes = malloc((size_t)status.st_size + 2);
    if (rc == 0 && (all->bytes == NULL || read(fd, all->bytes, (size_t)status.st_size) !=
                                              (ssize_t)status.st_size))
        rc = -EIO;
    close(fd);
    if (rc < 0) {
        free(all->bytes);
        all->bytes = NULL;
        return rc;
    }
    all->size = (size_t)status.st_size;
    return 0;
}

static int save(sim_state *state, sim_file *file, const attributes *all, uint32_t count)
{
    char name[32], next[32];
    int rc = 0;

    sim_data_name(name, file->id, ".uda");
    sim_data_name(next, file->id, ".new");
    int fd = openat(state->data_fd, next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return -EIO;
    if (write(fd, all->bytes, all->size) != (ssize_t)all->size)
        rc = -EIO;
    close(fd);
    if (rc == 0 && renameat(state->data_fd, next, state->data_fd, name) < 0)
        rc = -EIO;
    if (rc < 0) {
        unlinkat(state->data_fd, next, 0);
        return rc;
    }
    SIM_TOUCH(state, *file);
    file->attributes = count;
    file->ctime_s = sim_now_s(state->world);
    return 0;
}

/* The next pair; false: there is none. *at begins as NULL. */
static bool next_pair(const attributes *all, const char **at, const char **key,
                      const char **value)
{
    const char *begin = *at == NULL ? all->bytes : *at;

    if (begin == NULL || begin >= all->bytes + all->size)
        return false;
    *key = begin;
    *value = begin + strlen(begin) + 1;
    *at = *value + strlen(*value) + 1;
    return true;
}

static const char *value_of(const attributes *all, const char *key)
{
    const char *at = NULL, *each, *value;

    while (next_pair(all, &at, &each, &value))
        if (strcmp(each, key) == 0)
            return value;
    return NULL;
}

static int append(attributes *all, const char *key, const char *value)
{
    size_t keys = strlen(key) + 1, values = strlen(value) + 1;
    char *bytes = realloc(all->bytes, all->size + keys + values);

    if (bytes == NULL)
        return -ENOMEM;
    memcpy(bytes + all->size, key, keys);
    memcpy(bytes + all->size + keys, value, values);
    *all = (attributes){bytes, all->size + keys + values};
    return 0;
}

static bool is_key(const char *key)
{
    return key != NULL && strncmp(key, "/hpss/", 6) == 0 && key[6] != '\0';
}

static const hpss_userattr_t *in_list(HPSS_SIM_CONST hpss_userattr_list_t *list,
                                      const char *key)
{
    /* The last of equal keys is the one that stays. */
    for (int i = list->len - 1; i >= 0; i--)
        if (strcmp(list->Pair[i].Key, key) == 0)
            return &list->Pair[i];
    return NULL;
}

static int check_list(HPSS_SIM_CONST hpss_userattr_list_t *list, bool values)
{
    if (list == NULL || (list->len > 0 && list->Pair == NULL))
        return -EFAULT;
    if (list->len <= 0)
        return -EINVAL;
    for (int i = 0; i < list->len; i++) {
        if (!is_key(list->Pair[i].Key) || (values && list->Pair[i].Value == NULL))
            return -EINVAL;
        if (values && strpbrk(list->Pair[i].Value, "<&") != NULL)
            return -EINVAL;
    }
    return 0;
}

/* What is kept of the old ones, and behind it the new; set false: only taken away. */
static int replace(sim_state *state, sim_file *file,
                   HPSS_SIM_CONST hpss_userattr_list_t *list, bool set)
{
    attributes old, all = {NULL, 0};
    const char *at = NULL, *key, *value;
    uint32_t count = 0, removed = 0;
    int rc = load(state, file, &old);

    while (rc == 0 && next_pair(&old, &at, &key, &value)) {
        if (in_list(list, key) != NULL) {
            removed++;
            continue;
        }
        rc = append(&all, key, value);
        count++;
    }
    if (rc == 0 && !set && removed == 0)
        rc = -ENOENT;
    for (int i = 0; rc == 0 && set && i < list->len; i++) {
        if (in_list(list, list->Pair[i].Key) != &list->Pair[i])
            continue;
        rc = append(&all, list->Pair[i].Key, list->Pair[i].Value);
        count++;
    }
    if (rc == 0)
        rc = save(state, file, &all, count);
    free(old.bytes);
    free(all.bytes);
    return rc;
}

static int change(enum sim_function function, const char *path,
                  HPSS_SIM_CONST hpss_userattr_list_t *list, bool set)
{
    sim_call call;
    uint32_t index = SIM_NONE;
    int rc = sim_enter(&call, function, path);

    if (rc == 0)
        rc = check_list(list, set);
    if (rc == 0) {
        sim_lock(call.state);
        rc = sim_find(call.state, path, SIM_FOLLOW, &index, NULL);
        if (rc == 0) {
            sim_file *file = sim_file_at(call.state, index);
            uint32_t uid = sim_this_thread()->uid;

            /* The owner may, whatever the mode (guess). */
            rc = uid != 0 && uid != file->uid && !sim_permitted(file, 2)
                     ? -EACCES
                     : replace(call.state, file, list, set);
        }
        sim_unlock(call.state);
    }
    return (int)sim_leave(&call, rc);
}

int hpss_UserAttrSetAttrs(HPSS_SIM_CONST char *path,
                          HPSS_SIM_CONST hpss_userattr_list_t *list,
                          HPSS_SIM_CONST char *schema)
{
    (void)schema;
    return change(SIM_UserAttrSetAttrs, path, list, true);
}

int hpss_UserAttrDeleteAttrs(HPSS_SIM_CONST char *path,
                             HPSS_SIM_CONST hpss_userattr_list_t *list,
                             HPSS_SIM_CONST char *schema)
{
    (void)schema;
    return change(SIM_UserAttrDeleteAttrs, path, list, false);
}

/* As UDA_API_XML has it: the value in an element named as the key ends. */
static char *wrap(const char *key, const char *value, int flag)
{
    const char *name = strrchr(key, '/') + 1;
    char *text = NULL;

    if ((flag == UDA_API_XML ? asprintf(&text, HEADER "<%s>%s</%s>", name, value, name)
                             : asprintf(&text, HEADER "%s", value)) < 0)
        return NULL;
    return text;
}

static int load_path(sim_call *call, const char *path, attributes *all)
{
    uint32_t index = SIM_NONE;

    sim_lock(call->state);
    int rc = sim_find(call->state, path, SIM_FOLLOW, &index, NULL);
    if (rc == 0)
        rc = load(call->state, sim_file_at(call->state, index), all);
    sim_unlock(call->state);
    return rc;
}

static int get_values(const attributes *all, hpss_userattr_list_t *list, int flag,
                      size_t size)
{
    int found = 0;

    for (int i = 0; i < list->len; i++) {
        const char *value = value_of(all, list->Pair[i].Key);

        if (list->Pair[i].Value == NULL)
            return -EFAULT;
        list->Pair[i].Value[0] = '\0';
        if (value == NULL)
            continue;
        char *text = wrap(list->Pair[i].Key, value, flag);
        if (text == NULL)
            return -ENOMEM;
        bool fits = strlen(text) < size;
        if (fits)
            strcpy(list->Pair[i].Value, text);
        free(text);
        if (!fits)
            return -ERANGE;
        found++;
    }
    return found == 0 ? -ENOENT : 0;
}

static int get_attributes(const char *path, hpss_userattr_list_t *list, int flag, int size)
{
    attributes all = {NULL, 0};
    sim_call call;
    int rc = sim_enter(&call, SIM_UserAttrGetAttrs, path);

    if (rc == 0)
        rc = check_list(list, false);
    if (rc == 0 && ((flag != UDA_API_XML && flag != UDA_API_VALUE) || size <= 0))
        rc = -EINVAL;
    if (rc == 0)
        rc = load_path(&call, path, &all);
    if (rc == 0)
        rc = get_values(&all, list, flag, (size_t)size);
    free(all.bytes);
    return (int)sim_leave(&call, rc);
}

/* All is malloc'ed here and the caller's to free. */
static int list_all(const attributes *all, hpss_userattr_list_t *list, int flag)
{
    const char *at = NULL, *key, *value;
    int count = 0;

    while (next_pair(all, &at, &key, &value))
        count++;
    if (count == 0)
        return -ENOENT;
    list->Pair = calloc((size_t)count, sizeof *list->Pair);
    if (list->Pair == NULL)
        return -ENOMEM;
    list->len = 0;
    at = NULL;
    while (next_pair(all, &at, &key, &value)) {
        list->Pair[list->len].Key = strdup(key);
        list->Pair[list->len].Value = wrap(key, value, flag);
        list->len++;
    }
    return 0;
}

static int list_attributes(const char *path, hpss_userattr_list_t *list, int flag)
{
    attributes all = {NULL, 0};
    sim_call call;
    int rc = sim_enter(&call, SIM_UserAttrListAttrs, path);

    if (rc == 0 && list == NULL)
        rc = -EFAULT;
    if (rc == 0 && flag != UDA_API_XML && flag != UDA_API_VALUE)
        rc = -EINVAL;
    if (rc == 0)
        rc = load_path(&call, path, &all);
    if (rc == 0)
        rc = list_all(&all, list, flag);
    free(all.bytes);
    return (int)sim_leave(&call, rc);
}

#if HPSS_SIM_V < 705
int hpss_UserAttrGetAttrs(char *path, hpss_userattr_list_t *list, int flag)
{
    return get_attributes(path, list, flag, HPSS_XML_SIZE);
}

int hpss_UserAttrListAttrs(char *path, hpss_userattr_list_t *list, int flag)
{
    return list_attributes(path, list, flag);
}
#else
int hpss_UserAttrGetAttrs(const char *path, hpss_userattr_list_t *list, int flag, int size)
{
    return get_attributes(path, list, flag, size);
}

int hpss_UserAttrListAttrs(const char *path, hpss_userattr_list_t *list, int flag, int size)
{
    (void)size;
    return list_attributes(path, list, flag);
}
#endif

/* What is behind <?xml ... ?>, malloc'ed; all of it where there is none (guess). */
char *hpss_ChompXMLHeader(char *xml, char *header)
{
    sim_call call;
    char *text = NULL;

    if (sim_enter(&call, SIM_ChompXMLHeader, NULL) == 0 && xml != NULL) {
        const char *end = strncmp(xml, "<?xml", 5) == 0 ? strstr(xml, "?>") : NULL;
        const char *begin = end == NULL ? xml : end + 2;

        while (end != NULL && (*begin == '\n' || *begin == '\r'))
            begin++;
        if (header != NULL) {
            memcpy(header, xml, (size_t)(begin - xml));
            header[begin - xml] = '\0';
        }
        text = strdup(begin);
    }
    sim_leave(&call, 0);
    return text;
}

void sim_attributes_json(sim_state *state, const sim_file *file, sim_text *text)
{
    const char *at = NULL, *key, *value, *separator = "";
    attributes all;

    sim_print(text, "{");
    if (load(state, file, &all) == 0) {
        while (next_pair(&all, &at, &key, &value)) {
            sim_print(text, "%s", separator);
            sim_print_quoted(text, key);
            sim_print(text, ": ");
            sim_print_quoted(text, value);
            separator = ", ";
        }
        free(all.bytes);
    }
    sim_print(text, "}");
}
