/*
 * crowd THREADS TIMES KEYTAB: each thread does all that an archive does to files of its
 * own, TIMES times, in one directory; says on stderr what did not come out as it
 * should.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hpss_api.h"
#include "hpss_xml.h"

static int times;

static void want(const char *what, long expected, long actual)
{
    if (expected != actual)
        fprintf(stderr, "%s: %ld instead of %ld\n", what, actual, expected);
}

static void look(const char *path, u_signed64 size)
{
    hpss_xfileattr_t attributes;
    memset(&attributes, 0, sizeof(attributes));
    want("xattr", 0,
         hpss_FileGetXAttributes((char *)path,
                                 API_GET_STATS_FOR_ALL_LEVELS | API_GET_XATTRS_NO_BLOCK,
                                 0, &attributes));
    want("size", (long)size, (long)attributes.Attrs.DataLength);
    for (int i = 0; i < HPSS_MAX_STORAGE_LEVELS; i++)
        for (unsigned32 k = 0; k < attributes.SCAttrib[i].NumberOfVVs; k++)
            free(attributes.SCAttrib[i].VVAttrib[k].PVList);
}

static void stage(const char *path, unsigned char number)
{
    bfs_callback_addr_t address;
    hpss_reqid_t request;
    bfs_bitfile_obj_handle_t bitfile;
    char text[HPSS_NET_MAXBUF];
    memset(&address, 0, sizeof(address));
    memset(&request, number + 1, sizeof(request));
    hpss_net_getaddrinfo("127.0.0.1", "9", 0, HPSS_IPPROTO_TCP, &address.sockaddr, text,
                         sizeof(text));
    address.id = request;
    long rc = hpss_StageCallBack((char *)path, 0, 0, 0, &address, BFS_STAGE_ALL,
                                 &request, &bitfile);
    if (rc < 0)
        want("stage", 0, rc);
}

static void *work(void *data)
{
    unsigned char number = *(unsigned char *)data;
    char temporary[64], final[64], value[HPSS_XML_SIZE];
    unsigned char bytes[5000], back[5000];
    hpss_userattr_t pair = {.Key = "/hpss/user/x", .Value = "y"};
    hpss_userattr_list_t list;
    memset(&list, 0, sizeof(list));
    list.len = 1;
    list.Pair = &pair;
    snprintf(temporary, sizeof(temporary), "/crowd/%d.tmp", number);
    snprintf(final, sizeof(final), "/crowd/%d", number);
    for (int i = 0; i < times; i++) {
        size_t size = 1000 + (size_t)i * 97 % 4000;
        struct utimbuf when = {i, i};
        u_signed64 moved = 0;
        memset(bytes, number + i, sizeof(bytes));
        int fd =
            hpss_Open(temporary, O_CREAT | O_EXCL | O_WRONLY, 0644, NULL, NULL, NULL);
        want("create", 1, fd > 0);
        want("write", (long)size, hpss_Write(fd, bytes, size));
        want("close", 0, hpss_Close(fd));
        want("utime", 0, hpss_Utime(temporary, &when));
        want("set", 0, hpss_UserAttrSetAttrs(temporary, &list, NULL));
        want("rename", 0, hpss_Rename(temporary, final));
        look(final, size);
        fd = hpss_Open(final, O_RDWR, 0, NULL, NULL, NULL);
        want("migrate", 0, hpss_Migrate(fd, 0, HPSS_MIGRATE_FORCE, &moved));
        want("purge", 0, hpss_Purge(fd, 0, 0, 0, BFS_PURGE_ALL, &moved));
        want("close", 0, hpss_Close(fd));
        stage(final, number);
        fd = hpss_Open(final, O_RDONLY, 0, NULL, NULL, NULL);
        want("open", 1, fd > 0);
        memset(back, 0, sizeof(back));
        want("read", (long)size, hpss_Read(fd, back, sizeof(back)));
        want("bytes", 0, memcmp(bytes, back, size));
        want("close", 0, hpss_Close(fd));
        hpss_userattr_t asked = {.Key = "/hpss/user/x", .Value = value};
        hpss_userattr_list_t answer;
        memset(&answer, 0, sizeof(answer));
        answer.len = 1;
        answer.Pair = &asked;
        want("get", 0,
             hpss_UserAttrGetAttrs(final, &answer, UDA_API_VALUE, sizeof(value) - 1));
        want("absent", -ENOENT, hpss_Unlink(temporary));
        want("error", -2, hpss_GetLastHPSSErrno().hpss_errno);
        if (i % 3 == 0)
            want("unlink", 0, hpss_Unlink(final));
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[64];
    unsigned char numbers[64];
    int count = argc > 1 ? atoi(argv[1]) : 0;
    if (argc != 4 || count < 1 || count > 64)
        return 2;
    times = atoi(argv[2]);
    want("login", 0,
         hpss_SetLoginCred("hpss.unix", hpss_authn_mech_unix, hpss_rpc_cred_client,
                           hpss_rpc_auth_type_keytab, argv[3]));
    want("mkdir", 0, hpss_Mkdir("/crowd", 0755));
    for (int i = 0; i < count; i++) {
        numbers[i] = (unsigned char)i;
        if (pthread_create(&threads[i], NULL, work, &numbers[i]))
            return 2;
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    hpss_PurgeLoginCred();
    return 0;
}
