/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bank: the bank's books and its rule book, which both demo services were built from.
 *
 * The books are of yesterday: a transfer that is accepted today moves money "at end of day", which never
 * comes while a demo runs. So a service's answer depends on the request alone, whatever was asked before
 * and in whichever order the copies of a request arrive. Amounts are in cents.
 *
 * What the services make of this (parsing, checking, fee, layout of the answer) is written twice, once in
 * each of them: that is the thing Phoenix compares.
 */
#ifndef PHOENIX_DEMO_BANK_H
#define PHOENIX_DEMO_BANK_H

#include "base/slice.h"

#include <stdint.h>
#include <stdio.h>

#define BANK_ACCOUNT_FIRST		 1001u
#define BANK_ACCOUNT_LAST		 1200u
#define BANK_TRANSFERS			 40u /* booked transfers of each account */
#define BANK_LIMIT_DEFAULT		 10u /* transfers listed when the request does not say */
#define BANK_AMOUNT_MAX_CENTS		 100000000
#define BANK_REFERENCE_BYTES		 140u
#define BANK_FEE_MIN_CENTS		 10
#define BANK_FEE_MAX_CENTS		 1500
#define BANK_FEE_TEN_THOUSANDTHS	 15  /* 0.15 % of the amount … */
#define BANK_FEE_FOREIGN_TEN_THOUSANDTHS 100 /* … and 1 % more when the currency is not the account's */

/* What can be wrong with a request, in the order in which it is checked. X(NAME, status, title, detail) */
#define BANK_PROBLEMS(X)                                                                                     \
	X(PATH, 404, "Not Found", "there is no such resource")                                               \
	X(METHOD, 405, "Method Not Allowed", "this resource does not know the method")                       \
	X(LIMIT, 400, "Bad Request", "limit must be a whole number from 1 to 40")                            \
	X(ACCOUNT, 404, "Account Not Found", "no account has this number")                                   \
	X(JSON, 400, "Bad Request", "the body must be one JSON object")                                      \
	X(FROM, 400, "Bad Request", "from must be an account number as a string")                            \
	X(TO, 400, "Bad Request", "to must be an account number as a string")                                \
	X(AMOUNT, 400, "Bad Request", "amount must be a number")                                             \
	X(CURRENCY, 400, "Bad Request", "currency must be a string")                                         \
	X(REFERENCE, 400, "Bad Request", "reference must be a string of at most 140 bytes")                  \
	X(FROM_UNKNOWN, 404, "Account Not Found", "no account has the number given in from")                 \
	X(TO_UNKNOWN, 404, "Account Not Found", "no account has the number given in to")                     \
	X(SAME, 422, "Transfer Refused", "from and to are the same account")                                 \
	X(RANGE, 422, "Transfer Refused", "amount must be from 0.01 to 1000000.00")                          \
	X(CENTS, 422, "Transfer Refused", "amount must not have more than two decimals")                     \
	X(CURRENCY_UNKNOWN, 422, "Transfer Refused", "currency must be EUR, USD or GBP")                     \
	X(FROZEN, 422, "Transfer Refused", "an account of this transfer is frozen")                          \
	X(FUNDS, 422, "Transfer Refused", "the balance does not cover amount and fee")

enum bank_problem {
#define X(name, status, title, detail) BANK_##name,
	BANK_PROBLEMS(X)
#undef X
		BANK_PROBLEM_COUNT,
	BANK_FINE = BANK_PROBLEM_COUNT,
};

static const struct {
	int status;
	const char *title;
	const char *detail;
} bank_problems[] = {
#define X(name, status, title, detail) {status, title, detail},
	BANK_PROBLEMS(X)
#undef X
};

static const char *const bank_currencies[] = {"EUR", "USD", "GBP"};

struct bank_account {
	unsigned number;
	const char *owner;
	char iban[24];
	const char *currency;
	int64_t balance_cents;
	bool frozen;
	char opened[11]; /* YYYY-MM-DD */
};

struct bank_transfer {
	char id[20];
	unsigned counterparty;
	int64_t amount_cents; /* negative: paid */
	char booked[11];
	char reference[32];
};

/* The finaliser of splitmix64: a fixed, even scatter, so that the books need no storage. */
static inline uint64_t bank_scatter(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* FNV-1a, 64 bits. */
static inline uint64_t bank_hash(struct slice s)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (size_t i = 0; i < s.len; i++)
		hash = (hash ^ (unsigned char)s.ptr[i]) * 0x100000001b3u;
	return hash;
}

/* False when no account has this number. */
static inline bool bank_account(unsigned number, struct bank_account *out)
{
	static const char *const owners[] = {"Ada Lovelace",	  "Grace Hopper",	  "Edsger Dijkstra",
					     "Barbara Liskov",	  "Tony Hoare",		  "Frances Allen",
					     "Niklaus Wirth",	  "Radia Perlman",	  "Donald Knuth",
					     "Margaret Hamilton", "Ren\xc3\xa9 Descartes"};
	if (number < BANK_ACCOUNT_FIRST || number > BANK_ACCOUNT_LAST)
		return false;
	uint64_t bits = bank_scatter(number);
	memset(out, 0, sizeof(*out));
	out->number = number;
	out->owner = owners[bits % (sizeof(owners) / sizeof(owners[0]))];
	snprintf(out->iban, sizeof(out->iban), "DE%02u50010517%010u", (unsigned)(bits >> 8) % 90 + 10,
		 number);
	out->currency = bank_currencies[(bits >> 16) % 8 < 6 ? 0 : (bits >> 16) % 8 - 5];
	/* From 5,000.00 to 94,999.90, often with a trailing zero. */
	out->balance_cents = 500000 + (int64_t)((bits >> 24) % 900000) * 10;
	out->frozen = number % 50 == 0;
	snprintf(out->opened, sizeof(out->opened), "20%02u-%02u-%02u", (unsigned)(bits >> 40) % 24,
		 (unsigned)(bits >> 48) % 12 + 1, (unsigned)(bits >> 52) % 28 + 1);
	return true;
}

/* The index-th booked transfer of an account, newest first. */
static inline void bank_transfer(unsigned account, unsigned index, struct bank_transfer *out)
{
	static const char *const subjects[] = {"rent", "invoice", "salary", "insurance", "groceries"};
	uint64_t bits = bank_scatter((uint64_t)account << 32 | index);
	memset(out, 0, sizeof(*out));
	snprintf(out->id, sizeof(out->id), "bt-%012llx", (unsigned long long)(bits & 0xffffffffffffu));
	out->counterparty =
		BANK_ACCOUNT_FIRST + (unsigned)(bits % (BANK_ACCOUNT_LAST - BANK_ACCOUNT_FIRST + 1));
	out->amount_cents = (int64_t)(bits >> 20) % 200000 + 1;
	if (bits >> 60 & 1)
		out->amount_cents = -out->amount_cents;
	snprintf(out->booked, sizeof(out->booked), "2025-%02u-%02u", 12 - index * 12 / BANK_TRANSFERS,
		 28 - index % 3 * 9);
	snprintf(out->reference, sizeof(out->reference), "%s %u", subjects[(bits >> 44) % 5],
		 (unsigned)(bits >> 48) % 9000 + 1000);
}

#endif
