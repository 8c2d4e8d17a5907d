/*
 * Streams: hpss_Fopen and its like, with which release 0.4.2 of the archive interface
 * was written (fact 8.14). Fopen, Fread and Fwrite tell by errno (fact 2.1), the others
 * by minus it; Fopen reads ahead, and so stages.
 */
#include "sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hpss_api.h"

/* Guess. */
#define BUFFER (1u << 20)

struct hpss_sim_stream {
    int fd;
    bool writing;      /* what the buffer has is to be written */
    size_t next, held; /* in the buffer: read up to next, filled up to held */
    char *buffer;
};

/* errno instead of a code: the lie that sim_leave told is taken back. */
static int64_t tell_errno(sim_call *call, int64_t rc)
{
    rc = sim_leave(call, rc);
    if (rc < 0)
        errno = (int)-rc;
    return rc;
}

static bool parse_mode(const char *mode, int *oflag)
{
    bool update = mode != NULL && strchr(mode, '+') != NULL;

    if (mode == NULL)
        return false;
    switch (mode[0]) {
    case 'r':
        *oflag = update ? O_RDWR : O_RDONLY;
        return true;
    case 'w':
        *oflag = (update ? O_RDWR : O_WRONLY) | O_CREAT | O_TRUNC;
        return true;
    case 'a':
        *oflag = (update ? O_RDWR : O_WRONLY) | O_CREAT | O_APPEND;
        return true;
    default:
        return false;
    }
}

static int64_t fill(HPSS_FILE *stream, sim_call *call)
{
    int64_t got = sim_read(call, stream->buffer, BUFFER);

    stream->next = 0;
    stream->held = got > 0 ? (size_t)got : 0;
    return got;
}

static int flush(HPSS_FILE *stream, sim_call *call)
{
    size_t done = 0;

    while (stream->writing && done < stream->held) {
        int64_t put = sim_write(call, stream->buffer + done, stream->held - done);

        if (put < 0) {
            memmove(stream->buffer, stream->buffer + done, stream->held - done);
            stream->held -= done;
            return (int)put;
        }
        done += (size_t)put;
    }
    if (stream->writing)
        stream->held = stream->next = 0;
    stream->writing = false;
    return 0;
}

HPSS_FILE *hpss_Fopen(HPSS_SIM_CONST char *path, HPSS_SIM_CONST char *mode)
{
    HPSS_FILE *stream = calloc(1, sizeof *stream);
    sim_call call;
    int oflag = 0;
    int rc = sim_enter(&call, SIM_Fopen, path);

    if (rc == 0 && !parse_mode(mode, &oflag))
        rc = -EINVAL;
    if (rc == 0 && stream != NULL)
        stream->buffer = malloc(BUFFER);
    if (rc == 0 && (stream == NULL || stream->buffer == NULL))
        rc = -ENOMEM;
    if (rc == 0)
        rc = sim_open(&call, path, oflag, 0666, NULL, NULL, NULL);
    if (rc >= 0) {
        stream->fd = rc;
        if (call.descriptor != NULL && (oflag & O_ACCMODE) != O_WRONLY)
            fill(stream, &call);
    }
    if (tell_errno(&call, rc) < 0) {
        if (stream != NULL)
            free(stream->buffer);
        free(stream);
        return NULL;
    }
    return stream;
}

static int begin(sim_call *call, enum sim_function function, HPSS_FILE *stream)
{
    return sim_enter_fd(call, function, stream == NULL ? -1 : stream->fd);
}

/* Whole items; what is left of a cut one is lost, as with fread(3). */
size_t hpss_Fread(void *buffer, size_t size, size_t count, HPSS_FILE *stream)
{
    sim_call call;
    size_t wanted = size * count, done = 0;
    int64_t rc = begin(&call, SIM_Fread, stream);

    if (rc == 0)
        rc = flush(stream, &call);
    while (rc >= 0 && done < wanted) {
        if (stream->next == stream->held) {
            rc = fill(stream, &call);
            if (rc <= 0)
                break;
        }
        size_t piece = stream->held - stream->next;
        if (piece > wanted - done)
            piece = wanted - done;
        memcpy((char *)buffer + done, stream->buffer + stream->next, piece);
        stream->next += piece;
        done += piece;
    }
    if (tell_errno(&call, rc < 0 ? rc : 0) < 0)
        return 0;
    return size == 0 ? 0 : done / size;
}

/* What was read ahead is not yet read: the offset goes back to where the caller is. */
static void drop_ahead(HPSS_FILE *stream, sim_call *call)
{
    if (!stream->writing)
        call->descriptor->offset -= stream->held - stream->next;
    if (!stream->writing)
        stream->held = stream->next = 0;
}

size_t hpss_Fwrite(HPSS_SIM_CONST void *buffer, size_t size, size_t count,
                   HPSS_FILE *stream)
{
    sim_call call;
    size_t wanted = size * count, done = 0;
    int64_t rc = begin(&call, SIM_Fwrite, stream);

    if (rc == 0 && (call.descriptor->oflag & O_ACCMODE) == O_RDONLY)
        rc = -EBADF;
    if (rc == 0)
        drop_ahead(stream, &call);
    while (rc == 0 && done < wanted) {
        size_t piece = BUFFER - stream->held;

        if (piece > wanted - done)
            piece = wanted - done;
        stream->writing = true;
        memcpy(stream->buffer + stream->held, (const char *)buffer + done, piece);
        stream->held += piece;
        done += piece;
        if (stream->held == BUFFER)
            rc = flush(stream, &call);
    }
    if (tell_errno(&call, rc) < 0)
        return 0;
    return size == 0 ? 0 : done / size;
}

int hpss_Fseek(HPSS_FILE *stream, hpss_off_t offset, int whence)
{
    sim_call call;
    int rc = begin(&call, SIM_Fseek, stream);

    if (rc == 0)
        rc = flush(stream, &call);
    if (rc == 0) {
        uint64_t size = 0, base = 0;

        drop_ahead(stream, &call);
        sim_lock(call.state);
        sim_file *file = sim_file_with_id(call.state, call.descriptor->file,
                                          call.descriptor->file_id);
        size = file == NULL ? 0 : file->size;
        sim_unlock(call.state);
        if (whence == SEEK_CUR)
            base = call.descriptor->offset;
        else if (whence == SEEK_END)
            base = size;
        else if (whence != SEEK_SET)
            rc = -EINVAL;
        if (rc == 0 && offset < 0 && (uint64_t)-offset > base)
            rc = -EINVAL;
        if (rc == 0)
            call.descriptor->offset = base + (uint64_t)offset;
    }
    return (int)sim_leave(&call, rc);
}

long hpss_Ftell(HPSS_FILE *stream)
{
    sim_call call;
    int64_t rc = begin(&call, SIM_Ftell, stream);

    if (rc == 0)
        rc = (int64_t)call.descriptor->offset +
             (stream->writing ? (int64_t)stream->held
                              : (int64_t)stream->next - (int64_t)stream->held);
    return (long)sim_leave(&call, rc);
}

int hpss_Fflush(HPSS_FILE *stream)
{
    sim_call call;
    int rc = begin(&call, SIM_Fflush, stream);

    if (rc == 0)
        rc = flush(stream, &call);
    return (int)sim_leave(&call, rc);
}

int hpss_Fclose(HPSS_FILE *stream)
{
    sim_call call;
    int rc = begin(&call, SIM_Fclose, stream);

    if (rc == 0)
        rc = flush(stream, &call);
    /* The stream goes, whatever the answer: nobody could close it any more (guess). */
    if (call.descriptor != NULL)
        sim_close(&call);
    if (stream != NULL) {
        free(stream->buffer);
        free(stream);
    }
    return (int)sim_leave(&call, rc);
}
