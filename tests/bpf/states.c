/* SPDX-License-Identifier: Apache-2.0 */
/* states: see states.h. */
#include "states.h"

#include <string.h>

void says(struct talk *t, enum peer who, const char *text, struct expect expect)
{
	play(t, (struct packet){.from = who, .flags = PSH | ACK, .text = text}, expect);
}

void nothing(struct talk *t)
{
}

void handshake(struct talk *t)
{
	play(t, (struct packet){.flags = SYN}, (struct expect)ANSWERS(CLIENT, SYN_COOKIE, SYN | ACK));
	play(t, (struct packet){.flags = ACK}, (struct expect)DROPS(HANDSHAKE));
}

void request_to(struct talk *t, enum peer upstream, const char *request)
{
	says(t, CLIENT, request, (struct expect)NEW_SYN(upstream));
}

void accepts(struct talk *t, enum peer upstream, const char *request)
{
	play(t, (struct packet){.from = upstream, .flags = SYN | ACK},
	     (struct expect)ANSWERS(upstream, REPLAY, PSH | ACK, .text = request));
}

void client_acks(struct talk *t, enum peer upstream)
{
	play(t, (struct packet){.flags = ACK}, (struct expect)GOES_TO(upstream, ACK_UP));
}

void upstream_acks(struct talk *t, enum peer upstream)
{
	play(t, (struct packet){.from = upstream}, (struct expect)GOES_TO(CLIENT, ACK_DOWN));
}

void syn_sent(struct talk *t)
{
	handshake(t);
	request_to(t, UPSTREAM0, GET("/legacy"));
}

void request_sent(struct talk *t)
{
	syn_sent(t);
	accepts(t, UPSTREAM0, GET("/legacy"));
}

void request_acked(struct talk *t)
{
	request_sent(t);
	upstream_acks(t, UPSTREAM0);
}

void half_answered(struct talk *t)
{
	request_sent(t);
	says(t, UPSTREAM0, OK_HEAD5 "he", (struct expect)GOES_TO(CLIENT, RESPONSE));
}

void answered(struct talk *t)
{
	request_sent(t);
	says(t, UPSTREAM0, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
}

void answered_unacked(struct talk *t)
{
	request_sent(t);
	play(t, (struct packet){.from = UPSTREAM0, .text = OK5, .ack = -(int)strlen(GET("/legacy"))},
	     (struct expect)GOES_TO(CLIENT, RESPONSE));
}

void between(struct talk *t)
{
	answered(t);
	client_acks(t, UPSTREAM0);
}

void two_legs(struct talk *t)
{
	between(t);
	request_to(t, UPSTREAM1, GET("/modern"));
	accepts(t, UPSTREAM1, GET("/modern"));
	says(t, UPSTREAM1, OK5, (struct expect)GOES_TO(CLIENT, RESPONSE));
	client_acks(t, UPSTREAM1);
}

void posting(struct talk *t)
{
	between(t);
	says(t, CLIENT, "POST /legacy HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n01234",
	     (struct expect)GOES_TO(UPSTREAM0, REQUEST));
}

void chunked(struct talk *t)
{
	request_sent(t);
	says(t, UPSTREAM0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	     (struct expect)GOES_TO(CLIENT, RESPONSE));
}

void until_close(struct talk *t)
{
	request_sent(t);
	says(t, UPSTREAM0, "HTTP/1.1 200 OK\r\n\r\nabc", (struct expect)GOES_TO(CLIENT, RESPONSE));
}

void closing(struct talk *t)
{
	between(t);
	play(t, (struct packet){.flags = FIN | ACK}, (struct expect)ANSWERS(CLIENT, CLIENT_FIN, FIN | ACK));
}

void handed(struct talk *t)
{
	between(t);
	says(t, CLIENT, GET("/nowhere"), (struct expect)HANDS_OVER(NO_ROUTE));
}

void half_closed(struct talk *t)
{
	request_sent(t);
	play(t, (struct packet){.flags = FIN | ACK}, (struct expect)GOES_TO(UPSTREAM0, FIN_UP));
}
