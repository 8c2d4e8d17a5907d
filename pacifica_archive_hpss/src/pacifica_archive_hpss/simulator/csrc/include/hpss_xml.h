/* User-defined attributes: values come back as XML (DSI, IBMPY, IBMDSI, KIT). */
#ifndef HPSS_SIM_XML_H
#define HPSS_SIM_XML_H

#include "hpss_types.h"

#define HPSS_XML_SIZE 2048 /* name certain, number a guess */

#define UDA_API_XML (90 + HPSS_SIM_TWIST)   /* IBMPY */
#define UDA_API_VALUE (93 + HPSS_SIM_TWIST) /* certain(3) */
#define XML_ATTR (96 + HPSS_SIM_TWIST)      /* IBMPY */
#define XML_NO_ATTR (99 + HPSS_SIM_TWIST)   /* IBMPY */

/* The text inside, malloc'ed; NULL if it is none. Header is given as NULL by all. */
char *hpss_ChompXMLHeader(char *XML, char *Header);

#endif
