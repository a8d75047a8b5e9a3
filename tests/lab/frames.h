/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the probe: Ethernet with ARP, or IPv4 with ICMP echo or UDP, just
 * enough of each.  The probe has one address, 10.77.0.99.
 */
#ifndef TESTS_LAB_FRAMES_H
#define TESTS_LAB_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ETH_BYTES = 14, ARP_BYTES = 28, IP_BYTES = 20, UDP_BYTES = 8, ECHO_BYTES = 8 + 56,
	ARP_FRAME_BYTES = 60,
	ECHO_FRAME_BYTES = ETH_BYTES + IP_BYTES + ECHO_BYTES,
	UDP_TEXT_MAX = 1400,
	UDP_FRAME_MAX = ETH_BYTES + IP_BYTES + UDP_BYTES + UDP_TEXT_MAX,
};

extern const uint8_t frame_my_mac[6];
extern const uint8_t frame_my_ip[4];

static inline unsigned frame_get16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }

void frame_arp_ask(uint8_t f[ARP_FRAME_BYTES], const uint8_t ip[4]);
void frame_arp_answer(uint8_t f[ARP_FRAME_BYTES], const uint8_t mac[6], const uint8_t ip[4]);
void frame_echo(uint8_t f[ECHO_FRAME_BYTES], const uint8_t mac[6], const uint8_t ip[4], unsigned seq);
/* Returns the frame's length; n at most UDP_TEXT_MAX. */
size_t frame_udp(uint8_t f[UDP_FRAME_MAX], const uint8_t mac[6], const uint8_t ip[4], unsigned from_port,
		 unsigned to_port, const char *text, size_t n);

/* What a frame says.  Pointers go into the frame. */
enum frame_kind { FRAME_OTHER, FRAME_ARP_ASK, FRAME_ARP_ANSWER, FRAME_RARP, FRAME_ECHO_ANSWER, FRAME_UDP };
struct frame {
	enum frame_kind kind;
	const uint8_t *mac;		/* whose it is: sender */
	const uint8_t *ip, *to_ip;	/* NULL for FRAME_OTHER and FRAME_RARP */
	unsigned seq;			/* of an echo */
	unsigned from_port, to_port;
	const uint8_t *text;
	size_t text_len;
};
/* Never reads past n (at least ETH_BYTES). */
struct frame frame_read(const uint8_t *f, size_t n);

#endif
