/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ethernet frames that tell switches and neighbours where a MAC now is; pure.
 *
 *	RARP (RFC 903)  "who am I?" from the MAC to all: switches learn the port.  No IP needed.
 *	ARP, gratuitous (RFC 5227 announcement): neighbours and switches learn; needs the guest's IP.
 *
 *    0     6     12   14   16   18 19 20   22     28     32     38     42          60
 *    +-----+-----+----+----+----+--+--+----+------+------+------+------+-----------+
 *    | dst | src |type| hw |prot| 6| 4|oper|sender| IP   |target| IP   | zeros     |
 *    +-----+-----+----+----+----+--+--+----+------+------+------+------+-----------+
 */
#ifndef NET_FRAMES_H
#define NET_FRAMES_H

#include <stdint.h>

enum { FRAME_BYTES = 60 };		/* the shortest Ethernet frame, without its checksum */

void frame_rarp(const uint8_t mac[6], uint8_t out[FRAME_BYTES]);
/* ip in network order. */
void frame_garp(const uint8_t mac[6], uint32_t ip, uint8_t out[FRAME_BYTES]);

#endif
