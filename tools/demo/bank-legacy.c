/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bank-legacy: the bank's old accounts-and-transfers service, as one finds them: it has worked for years,
 * every answer is put together by hand with printf, amounts always have two decimals, and the order of
 * the checks is the order in which somebody once thought of them. Its successor is bank-modern.
 */
#include "bank.h"
#include "service.h"

#include <jansson.h>
#include <math.h>

/* Appends 1250 as "12.50". */
static void put_amount(struct buf *out, int64_t cents)
{
	int64_t positive = cents < 0 ? -cents : cents;
	buf_printf(out, "%s%lld.%02lld", cents < 0 ? "-" : "", (long long)(positive / 100),
		   (long long)(positive % 100));
}

static void answer_problem(struct service_response *response, enum bank_problem problem, const char *allow)
{
	response->status = bank_problems[problem].status;
	response->content_type = "application/problem+json";
	response->allow = allow;
	buf_reset(&response->body);
	buf_printf(&response->body,
		   "{\n  \"type\": \"about:blank\",\n  \"title\": \"%s\",\n  \"status\": %d,\n"
		   "  \"detail\": \"%s\"\n}\n",
		   bank_problems[problem].title, bank_problems[problem].status,
		   bank_problems[problem].detail);
}

static void put_account(struct buf *out, const struct bank_account *account, const char *indent,
			bool wrong_value)
{
	buf_printf(out, "{\n%s  \"account_id\": \"%u\",\n%s  \"owner\": ", indent, account->number, indent);
	buf_append_json(out, slice_str(account->owner));
	buf_printf(out, ",\n%s  \"iban\": \"%s\",\n%s  \"status\": \"%s\",\n%s  \"opened_on\": \"%s\",\n",
		   indent, account->iban, indent, account->frozen ? "frozen" : "active", indent,
		   account->opened);
	buf_printf(out, "%s  \"currency\": \"%s\",\n%s  \"balance\": ", indent, account->currency, indent);
	put_amount(out, account->balance_cents + (wrong_value ? 1 : 0));
	buf_printf(out, "\n%s}", indent);
}

static void put_meta(struct buf *out)
{
	char now[CLOCK_RFC3339_SIZE];
	clock_rfc3339(clock_wall_ns(), now);
	buf_printf(out, "  \"meta\": { \"api_version\": \"1\", \"generated_at\": \"%s\" }\n}\n", now);
}

static void list_accounts(struct service_response *response, bool wrong_value)
{
	struct bank_account account;
	struct buf *out = &response->body;
	buf_append_str(out, "{\n  \"accounts\": [\n");
	for (unsigned i = 0; i < 20; i++) {
		bank_account(BANK_ACCOUNT_FIRST + i, &account);
		buf_append_str(out, "    ");
		put_account(out, &account, "    ", wrong_value && i == 0);
		buf_append_str(out, i < 19 ? ",\n" : "\n");
	}
	buf_printf(out, "  ],\n  \"total\": %u,\n", BANK_ACCOUNT_LAST - BANK_ACCOUNT_FIRST + 1);
	put_meta(out);
}

static void show_account(struct service_response *response, const struct bank_account *account,
			 bool wrong_value)
{
	buf_append_str(&response->body, "{\n  \"account\": ");
	put_account(&response->body, account, "  ", wrong_value);
	buf_append_str(&response->body, ",\n");
	put_meta(&response->body);
}

static void list_transfers(struct service_response *response, const struct bank_account *account,
			   struct slice query, bool wrong_value)
{
	struct buf *out = &response->body;
	struct slice text;
	unsigned limit = BANK_LIMIT_DEFAULT;
	if (service_query(query, "limit", &text)) {
		if (!service_number(text, &limit) || limit < 1 || limit > BANK_TRANSFERS) {
			answer_problem(response, BANK_LIMIT, NULL);
			return;
		}
	}
	buf_printf(out, "{\n  \"account_id\": \"%u\",\n  \"transfers\": [\n", account->number);
	for (unsigned i = 0; i < limit; i++) {
		struct bank_transfer transfer;
		bank_transfer(account->number, i, &transfer);
		buf_printf(out, "    { \"transfer_id\": \"%s\", \"counterparty\": \"%u\", \"amount\": ",
			   transfer.id, transfer.counterparty);
		put_amount(out, transfer.amount_cents + (wrong_value ? 1 : 0));
		buf_printf(out, ", \"currency\": \"%s\", \"booked_on\": \"%s\", \"reference\": \"%s\" }%s\n",
			   account->currency, transfer.booked, transfer.reference, i + 1 < limit ? "," : "");
	}
	buf_append_str(out, "  ],\n");
	put_meta(out);
}

/* The fields of a transfer, borrowed from the parsed body. */
struct wish {
	unsigned from, to;
	double amount;
	int64_t amount_cents, fee_cents;
	const char *currency;
	struct slice reference;
};

static enum bank_problem read_wish(const json_t *body, struct wish *wish)
{
	const json_t *from = json_object_get(body, "from");
	const json_t *to = json_object_get(body, "to");
	const json_t *amount = json_object_get(body, "amount");
	const json_t *currency = json_object_get(body, "currency");
	const json_t *reference = json_object_get(body, "reference");

	if (!json_is_object(body))
		return BANK_JSON;
	if (!json_is_string(from) ||
	    !service_number(slice_of(json_string_value(from), json_string_length(from)), &wish->from))
		return BANK_FROM;
	if (!json_is_string(to) ||
	    !service_number(slice_of(json_string_value(to), json_string_length(to)), &wish->to))
		return BANK_TO;
	if (!json_is_number(amount))
		return BANK_AMOUNT;
	if (!json_is_string(currency))
		return BANK_CURRENCY;
	if (reference && (!json_is_string(reference) || json_string_length(reference) > BANK_REFERENCE_BYTES))
		return BANK_REFERENCE;
	wish->amount = json_number_value(amount);
	wish->currency = json_string_value(currency);
	wish->reference = slice_str("");
	if (reference)
		wish->reference = slice_of(json_string_value(reference), json_string_length(reference));
	return BANK_FINE;
}

static enum bank_problem check_wish(struct wish *wish)
{
	struct bank_account from, to;
	if (!bank_account(wish->from, &from))
		return BANK_FROM_UNKNOWN;
	if (!bank_account(wish->to, &to))
		return BANK_TO_UNKNOWN;
	if (wish->from == wish->to)
		return BANK_SAME;
	if (wish->amount < 0.0099999 || wish->amount > BANK_AMOUNT_MAX_CENTS / 100.0 + 0.0000001)
		return BANK_RANGE;
	wish->amount_cents = (int64_t)floor(wish->amount * 100 + 0.5);
	if (fabs(wish->amount * 100 - (double)wish->amount_cents) > 0.00001)
		return BANK_CENTS;
	if (strcmp(wish->currency, "EUR") != 0 && strcmp(wish->currency, "USD") != 0 &&
	    strcmp(wish->currency, "GBP") != 0)
		return BANK_CURRENCY_UNKNOWN;
	if (from.frozen || to.frozen)
		return BANK_FROZEN;

	/* 0.15 %, 1.15 % in a foreign currency, half a cent rounds up, never under 0.10 or over 15.00. */
	int64_t ten_thousandths = strcmp(wish->currency, from.currency) == 0 ? 15 : 115;
	wish->fee_cents = (wish->amount_cents * ten_thousandths + 5000) / 10000;
	if (wish->fee_cents < BANK_FEE_MIN_CENTS)
		wish->fee_cents = BANK_FEE_MIN_CENTS;
	if (wish->fee_cents > BANK_FEE_MAX_CENTS)
		wish->fee_cents = BANK_FEE_MAX_CENTS;
	return wish->amount_cents + wish->fee_cents > from.balance_cents ? BANK_FUNDS : BANK_FINE;
}

static void transfer_funds(const struct service_request *request, struct service_response *response,
			   bool wrong_value)
{
	struct wish wish = {0};
	json_t *body = json_loadb(request->body.ptr ? request->body.ptr : "", request->body.len,
				  JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	enum bank_problem problem = read_wish(body, &wish);
	if (problem == BANK_FINE)
		problem = check_wish(&wish);
	if (problem != BANK_FINE) {
		answer_problem(response, problem, NULL);
		json_decref(body);
		return;
	}
	/* The same wish is the same transfer, however often it is sent. */
	struct slice key = request->idempotency_key.len ? request->idempotency_key : request->body;
	struct buf *out = &response->body;
	response->status = 201;
	buf_printf(out, "{\n  \"transfer_id\": \"tr-%016llx\",\n  \"status\": \"accepted\",\n",
		   (unsigned long long)bank_hash(key));
	buf_printf(out, "  \"from\": \"%u\",\n  \"to\": \"%u\",\n  \"amount\": ", wish.from, wish.to);
	put_amount(out, wish.amount_cents);
	buf_append_str(out, ",\n  \"fee\": ");
	put_amount(out, wish.fee_cents + (wrong_value ? 1 : 0));
	buf_append_str(out, ",\n  \"total\": ");
	put_amount(out, wish.amount_cents + wish.fee_cents + (wrong_value ? 1 : 0));
	buf_printf(out, ",\n  \"currency\": \"%s\",\n  \"reference\": ", wish.currency);
	buf_append_json(out, wish.reference);
	buf_append_str(out, ",\n");
	put_meta(out);
	json_decref(body);
}

static void handle(const struct service_request *request, struct service_response *response, bool wrong_value)
{
	struct slice path = request->path, number, rest;
	struct bank_account account;
	unsigned id;
	bool get = slice_equal(request->method, SLICE("GET")) || slice_equal(request->method, SLICE("HEAD"));

	response->content_type = "application/json";
	if (slice_equal(path, SLICE("/transfer-funds"))) {
		if (slice_equal(request->method, SLICE("POST")))
			transfer_funds(request, response, wrong_value);
		else
			answer_problem(response, BANK_METHOD, "POST");
		return;
	}
	if (slice_equal(path, SLICE("/health")) || slice_equal(path, SLICE("/accounts"))) {
		if (!get)
			answer_problem(response, BANK_METHOD, "GET, HEAD");
		else if (path.ptr[1] == 'h')
			buf_append_str(&response->body, "{ \"status\": \"ok\" }\n");
		else
			list_accounts(response, wrong_value);
		return;
	}
	if (!slice_starts(path, SLICE("/accounts/"))) {
		answer_problem(response, BANK_PATH, NULL);
		return;
	}
	rest = slice_of(path.ptr + 10, path.len - 10);
	const char *slash = rest.len ? memchr(rest.ptr, '/', rest.len) : NULL;
	number = slash ? slice_of(rest.ptr, (size_t)(slash - rest.ptr)) : rest;
	rest = slash ? slice_of(slash, rest.len - number.len) : slice_str("");
	if (rest.len && !slice_equal(rest, SLICE("/transfers")))
		answer_problem(response, BANK_PATH, NULL);
	else if (!get)
		answer_problem(response, BANK_METHOD, "GET, HEAD");
	else if (!service_number(number, &id) || !bank_account(id, &account))
		answer_problem(response, BANK_ACCOUNT, NULL);
	else if (rest.len)
		list_transfers(response, &account, request->query, wrong_value);
	else
		show_account(response, &account, wrong_value);
}

int main(int argc, char **argv)
{
	static const struct service service = {"bank-legacy", "BankServer/1.4", handle};
	json_object_seed(1); /* once, before the threads: jansson's own lazy seeding is for one thread */
	return service_main(argc, argv, &service);
}
