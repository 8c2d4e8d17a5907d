/* Ways to log in, from text: DSI, NG, HU. 0 or minus an errno. */
#ifndef HPSS_SIM_MECH_H
#define HPSS_SIM_MECH_H

#include "hpss_types.h"

signed32 hpss_AuthnMechTypeFromString(HPSS_SIM_CONST char *AuthnMechString,
                                      hpss_authn_mech_t *AuthnMech);
/* "auth_keytab:/path"; the authenticator is malloc'ed (guess). */
signed32 hpss_ParseAuthString(char *AuthenticatorString, hpss_authn_mech_t *AuthnMech,
                              hpss_rpc_auth_type_t *AuthenticatorType,
                              void **Authenticator);

#endif
