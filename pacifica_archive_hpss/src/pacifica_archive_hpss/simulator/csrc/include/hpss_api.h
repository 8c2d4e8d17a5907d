/*
 * Calls of the simulated HPSS Client API, in the order of section 1.1 of the facts.
 * Our own writing; see hpss_types.h for what the marks mean. Unless it says other,
 * a call returns 0, a count or a descriptor, or minus an errno of this system, and
 * errno itself tells nothing (section 2).
 */
#ifndef HPSS_SIM_API_H
#define HPSS_SIM_API_H

#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

#include "hpss_stat.h"
#include "hpss_types.h"
#if HPSS_SIM_V >= 705
#include "hpss_net.h"
#endif

/* Login. certain(9), certain(6), certain(3) */
int hpss_SetLoginCred(char *PrincipalName, hpss_authn_mech_t Mechanism,
                      hpss_rpc_cred_type_t CredType, hpss_rpc_auth_type_t AuthType,
                      void *Authenticator);
void hpss_PurgeLoginCred(void);
void hpss_ClientAPIReset(void);

/* The core server. 1 src PAC; its type of id changes at 7.5. */
#if HPSS_SIM_V < 705
int hpss_LookupRootCS(char *SiteName, hpss_uuid_t *CoreServerID);
int hpss_PingCore(hpss_uuid_t *CoreServerID, unsigned32 *RecvSecs,
                  unsigned32 *RecvUSecs);
#else
int hpss_LookupRootCS(const char *SiteName, hpss_srvr_id_t *CoreServerID);
int hpss_PingCore(const hpss_srvr_id_t *CoreServerID, unsigned32 *RecvSecs,
                  unsigned32 *RecvUSecs);
#endif

/* Bytes. certain(8), certain(6) */
int hpss_Open(HPSS_SIM_CONST char *Path, int Oflag, mode_t Mode,
              HPSS_SIM_CONST hpss_cos_hints_t *HintsIn,
              HPSS_SIM_CONST hpss_cos_priorities_t *HintsPri,
              hpss_cos_hints_t *HintsOut);
int hpss_Close(int Fildes);
ssize_t hpss_Read(int Fildes, void *Buffer, size_t Nbyte);
ssize_t hpss_Write(int Fildes, const void *Buffer, size_t Nbyte);
/* OSD, IR, SOH */
hpss_off_t hpss_Lseek(int Fildes, hpss_off_t Offset, int Whence);
/* certain(2): IBMPY, NG; 0 and OffsetOut (guess: may be the offset or only 0) */
#define HPSS_SET_OFFSET_FORWARD (100 + HPSS_SIM_TWIST)
#define HPSS_SET_OFFSET_BACKWARD (105 + HPSS_SIM_TWIST)
int hpss_SetFileOffset(int Fildes, u_signed64 Offset, int Whence, int Direction,
                       u_signed64 *OffsetOut);

/* Streams: IBMPY, PAC. Fopen, Fread and Fwrite tell by errno, the others by minus it. */
typedef struct hpss_sim_stream HPSS_FILE;
HPSS_FILE *hpss_Fopen(HPSS_SIM_CONST char *Path, HPSS_SIM_CONST char *Mode);
size_t hpss_Fread(void *Buffer, size_t Size, size_t Count, HPSS_FILE *Stream);
size_t hpss_Fwrite(HPSS_SIM_CONST void *Buffer, size_t Size, size_t Count,
                   HPSS_FILE *Stream);
int hpss_Fseek(HPSS_FILE *Stream, hpss_off_t Offset, int Whence);
long hpss_Ftell(HPSS_FILE *Stream);
int hpss_Fflush(HPSS_FILE *Stream);
int hpss_Fclose(HPSS_FILE *Stream);

/* Attributes. certain(6), certain(5), certain(7) */
int hpss_Stat(HPSS_SIM_CONST char *Path, hpss_stat_t *Buf);
int hpss_Lstat(HPSS_SIM_CONST char *Path, hpss_stat_t *Buf);
int hpss_Fstat(int Fildes, hpss_stat_t *Buf);
int hpss_FileGetAttributes(HPSS_SIM_CONST char *Path, hpss_fileattr_t *AttrOut);
int hpss_FileGetXAttributes(HPSS_SIM_CONST char *Path, unsigned32 Flags,
                            unsigned32 StorageLevel, hpss_xfileattr_t *AttrOut);
/* Computed here: DSI; HU, DSI. */
void API_ConvertTimeToPosixTime(const hpss_Attrs_t *Attrs, timestamp_sec_t *Atime,
                                timestamp_sec_t *Mtime, timestamp_sec_t *Ctime);
void API_ConvertModeToPosixMode(const hpss_Attrs_t *Attrs, mode_t *PosixMode);

/* Staging. certain(6) */
int hpss_Stage(int Fildes, u_signed64 Offset, u_signed64 Length,
               unsigned32 StorageLevel, unsigned32 Flags);
/* 1 src DSI: the bitfile's type and the name of the query change at 7.5. */
#if HPSS_SIM_V < 705
int hpss_StageCallBack(char *Path, u_signed64 Offset, u_signed64 Length,
                       unsigned32 StorageLevel, bfs_callback_addr_t *CallBackPtr,
                       unsigned32 Flags, hpss_reqid_t *ReqID, hpssoid_t *BitfileID);
int hpss_GetAsynchStatus(signed32 CallBackId, hpssoid_t *BitfileID, signed32 *Status);
#else
int hpss_StageCallBack(const char *Path, u_signed64 Offset, u_signed64 Length,
                       unsigned32 StorageLevel, bfs_callback_addr_t *CallBackPtr,
                       unsigned32 Flags, hpss_reqid_t *ReqID,
                       bfs_bitfile_obj_handle_t *BitfileObj);
int hpss_GetAsyncStatus(hpss_reqid_t CallBackId, bfs_bitfile_obj_handle_t *BitfileObj,
                        int32_t *Status);
#endif
/* 9.3+: 1 src DSI+ */
#if HPSS_SIM_V >= 903
int API_StageBatchInit(hpss_stage_batch_t *Batch, int Len);
int API_StageBatchInsertBFObj(hpss_stage_batch_t *Batch, int Idx,
                              const bfs_bitfile_obj_handle_t *BfObj,
                              int FromStorageLevel, int ToStorageLevel,
                              u_signed64 Offset, u_signed64 Length, uint32_t Flags);
void API_StageBatchFree(hpss_stage_batch_t *Batch);
int hpss_StageBatchCallBack(hpss_stage_batch_t *Batch, bfs_callback_addr_t *CallBackPtr,
                            hpss_reqid_t *ReqID, hpss_stage_bitfile_list_t *BFIDs,
                            hpss_stage_batch_status_t *Status);
int hpss_GetBatchAsynchStatus(hpss_reqid_t CallBackId, hpss_stage_bitfile_list_t *BFIDs,
                              hpss_stage_status_type_t Type,
                              hpss_stage_batch_status_t *Status);
void API_StageStatusFree(hpss_stage_batch_status_t *Status);
#endif

/* Purge certain(3), Migrate 1 src IBMPY, PurgeLock certain(3): HU, IBMPY, SOH */
int hpss_Purge(int Fildes, u_signed64 Offset, u_signed64 Size, unsigned32 StorageLevel,
               unsigned32 Flags, u_signed64 *RetBytesPurged);
int hpss_Migrate(int Fildes, unsigned32 SrcLevel, unsigned32 Flags,
                 u_signed64 *RetBytesMigrated);
int hpss_PurgeLock(int Fildes, purgelock_flag_t Flag);

/* Names. certain(7) for Chmod, Rename, Unlink and Mkdir, certain(2+) for the others */
int hpss_Utime(HPSS_SIM_CONST char *Path, HPSS_SIM_CONST struct utimbuf *Times);
int hpss_Chmod(HPSS_SIM_CONST char *Path, mode_t Mode);
int hpss_Chown(HPSS_SIM_CONST char *Path, uid_t Owner, gid_t Group);
int hpss_Rename(HPSS_SIM_CONST char *Old, HPSS_SIM_CONST char *New);
int hpss_Unlink(HPSS_SIM_CONST char *Path);
int hpss_Mkdir(HPSS_SIM_CONST char *Path, mode_t Mode);
int hpss_Rmdir(HPSS_SIM_CONST char *Path);
int hpss_Link(HPSS_SIM_CONST char *Existing, HPSS_SIM_CONST char *New);
int hpss_Symlink(HPSS_SIM_CONST char *Contents, HPSS_SIM_CONST char *Path);
/* The length put into the buffer (guess: whether a NUL is put behind it) */
int hpss_Readlink(HPSS_SIM_CONST char *Path, char *Contents, size_t BufferSize);
int hpss_Access(HPSS_SIM_CONST char *Path, int Amode);
int hpss_Truncate(HPSS_SIM_CONST char *Path, u_signed64 Length);
int hpss_Ftruncate(int Fildes, u_signed64 Length);
int hpss_Fsync(int Fildes);
int hpss_Fpreallocate(int Fildes, u_signed64 Length);
mode_t hpss_Umask(mode_t CMask);

/* Directories: OSD, IR, IBMPY */
int hpss_Opendir(HPSS_SIM_CONST char *DirName);
int hpss_Readdir(int DirDes, hpss_dirent_t *DirentPtr);
int hpss_Closedir(int DirDes);

/* Classes of service. DSI stor.c; IBMPY, SOH */
int hpss_SetCOSByHints(int Fildes, unsigned32 Flags,
                       HPSS_SIM_CONST hpss_cos_hints_t *HintsPtr,
                       HPSS_SIM_CONST hpss_cos_priorities_t *PrioPtr,
                       hpss_cos_md_t *COSPtr);
int hpss_FileSetCOS(HPSS_SIM_CONST char *Path, unsigned32 COSId, unsigned32 StreamId);

/* User-defined attributes, certain(4): the last argument of Get and List is 7.5+. */
int hpss_UserAttrSetAttrs(HPSS_SIM_CONST char *Path,
                          HPSS_SIM_CONST hpss_userattr_list_t *Attr,
                          HPSS_SIM_CONST char *Schema);
int hpss_UserAttrDeleteAttrs(HPSS_SIM_CONST char *Path,
                             HPSS_SIM_CONST hpss_userattr_list_t *Attr,
                             HPSS_SIM_CONST char *Schema);
#if HPSS_SIM_V < 705
int hpss_UserAttrGetAttrs(char *Path, hpss_userattr_list_t *Attr, int XMLFlag);
int hpss_UserAttrListAttrs(char *Path, hpss_userattr_list_t *Attr, int XMLFlag);
#else
int hpss_UserAttrGetAttrs(const char *Path, hpss_userattr_list_t *Attr, int XMLFlag,
                          int XMLSize);
int hpss_UserAttrListAttrs(const char *Path, hpss_userattr_list_t *Attr, int XMLFlag,
                           int XMLSize);
#endif

/* Errors, certain(2): DSI, IBMPY. Of the calling thread. */
hpss_errno_state_t hpss_GetLastHPSSErrno(void);
void hpss_ClearLastHPSSErrno(void);

/* Configuration, certain(5); the text (malloc'ed) DSI, IBMPY */
int hpss_GetConfiguration(api_config_t *ConfigOut);
int hpss_SetConfiguration(HPSS_SIM_CONST api_config_t *ConfigIn);
char *hpss_BuildLevelString(void);

/* Who a thread is: DSI, NG, IR, HU */
int hpss_LoadDefaultThreadState(uid_t UserID, mode_t Umask, char *ClientFullName);
int hpss_LoadThreadState(uid_t UserID, mode_t Umask, char *ClientFullName);
int hpss_GetThreadUcred(sec_cred_t *RetUcred);

#endif
