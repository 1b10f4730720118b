/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bank-modern: the rewrite of bank-legacy. Resources are a table, answers are JSON trees dumped compactly
 * in their own key order, amounts are plain JSON numbers (12.5, not 12.50), rules are a list of checks.
 * Everything a client may rely on is the same; `--fault` makes that untrue.
 */
#include "bank.h"
#include "service.h"

#include <jansson.h>
#include <math.h>

#define ACCOUNTS_LISTED 20u

/* What a resource's function gets to see. */
struct call {
	const struct service_request *request;
	struct service_response *response;
	struct bank_account account; /* of resources below /accounts/{id} */
	int64_t error_cents;	     /* what --fault wrong-value is wrong by */
};

static json_t *amount(int64_t cents)
{
	return cents % 100 ? json_real((double)cents / 100) : json_integer(cents / 100);
}

static json_t *meta(void)
{
	char now[CLOCK_RFC3339_SIZE];
	clock_rfc3339(clock_wall_ns(), now);
	return json_pack("{s:s, s:s}", "generated_at", now, "api_version", "1");
}

static int append(const char *data, size_t len, void *out)
{
	buf_append(out, data, len);
	return 0;
}

/* Consumes `document`. */
static void answer(struct call *call, int status, const char *content_type, json_t *document)
{
	struct service_response *response = call->response;
	response->status = status;
	response->content_type = content_type;
	/* 15 digits are what a double keeps of any decimal: 0.1 stays 0.1. */
	if (!document ||
	    json_dump_callback(document, append, &response->body, JSON_COMPACT | JSON_REAL_PRECISION(15)) < 0)
		response->body.failed = true;
	json_decref(document);
}

static void refuse(struct call *call, enum bank_problem problem)
{
	answer(call, bank_problems[problem].status, "application/problem+json",
	       json_pack("{s:i, s:s, s:s, s:s}", "status", bank_problems[problem].status, "title",
			 bank_problems[problem].title, "detail", bank_problems[problem].detail, "type",
			 "about:blank"));
}

static json_t *account_document(const struct bank_account *account, int64_t error_cents)
{
	char number[16];
	snprintf(number, sizeof(number), "%u", account->number);
	return json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:s}", "balance",
			 amount(account->balance_cents + error_cents), "currency", account->currency,
			 "account_id", number, "iban", account->iban, "owner", account->owner, "opened_on",
			 account->opened, "status", account->frozen ? "frozen" : "active");
}

static void health_get(struct call *call)
{
	answer(call, 200, "application/json", json_pack("{s:s}", "status", "ok"));
}

static void accounts_get(struct call *call)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < ACCOUNTS_LISTED; i++) {
		struct bank_account account;
		bank_account(BANK_ACCOUNT_FIRST + i, &account);
		json_array_append_new(list, account_document(&account, i == 0 ? call->error_cents : 0));
	}
	answer(call, 200, "application/json",
	       json_pack("{s:o, s:i, s:o}", "meta", meta(), "total",
			 (int)(BANK_ACCOUNT_LAST - BANK_ACCOUNT_FIRST + 1), "accounts", list));
}

static void account_get(struct call *call)
{
	answer(call, 200, "application/json",
	       json_pack("{s:o, s:o}", "meta", meta(), "account",
			 account_document(&call->account, call->error_cents)));
}

static void account_transfers_get(struct call *call)
{
	unsigned limit = BANK_LIMIT_DEFAULT;
	char counterparty[16], number[16];
	struct slice text;
	if (service_query(call->request->query, "limit", &text) &&
	    (!service_number(text, &limit) || limit < 1 || limit > BANK_TRANSFERS)) {
		refuse(call, BANK_LIMIT);
		return;
	}
	json_t *list = json_array();
	for (unsigned i = 0; i < limit; i++) {
		struct bank_transfer transfer;
		bank_transfer(call->account.number, i, &transfer);
		snprintf(counterparty, sizeof(counterparty), "%u", transfer.counterparty);
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:o, s:s, s:s, s:s}", "booked_on",
						transfer.booked, "reference", transfer.reference, "amount",
						amount(transfer.amount_cents + call->error_cents),
						"counterparty", counterparty, "transfer_id", transfer.id,
						"currency", call->account.currency));
	}
	snprintf(number, sizeof(number), "%u", call->account.number);
	answer(call, 200, "application/json",
	       json_pack("{s:o, s:s, s:o}", "transfers", list, "account_id", number, "meta", meta()));
}

struct transfer {
	struct bank_account from, to;
	unsigned from_number, to_number;
	const char *currency;
	const char *reference;
	double amount;
	int64_t amount_cents;
	int64_t fee_cents;
};

static bool account_number(const json_t *value, unsigned *number)
{
	return json_is_string(value) &&
	       service_number(slice_of(json_string_value(value), json_string_length(value)), number);
}

/* The shape of the body: the first member that is not as it should be. */
static enum bank_problem transfer_read(const json_t *body, struct transfer *t)
{
	const json_t *reference = json_object_get(body, "reference");
	if (!json_is_object(body))
		return BANK_JSON;
	if (!account_number(json_object_get(body, "from"), &t->from_number))
		return BANK_FROM;
	if (!account_number(json_object_get(body, "to"), &t->to_number))
		return BANK_TO;
	if (!json_is_number(json_object_get(body, "amount")))
		return BANK_AMOUNT;
	if (!json_is_string(json_object_get(body, "currency")))
		return BANK_CURRENCY;
	if (reference && (!json_is_string(reference) || json_string_length(reference) > BANK_REFERENCE_BYTES))
		return BANK_REFERENCE;
	t->amount = json_number_value(json_object_get(body, "amount"));
	t->currency = json_string_value(json_object_get(body, "currency"));
	t->reference = reference ? json_string_value(reference) : "";
	return BANK_FINE;
}

static bool currency_known(const char *currency)
{
	for (size_t i = 0; i < sizeof(bank_currencies) / sizeof(bank_currencies[0]); i++) {
		if (strcmp(currency, bank_currencies[i]) == 0)
			return true;
	}
	return false;
}

static int64_t fee(const struct transfer *t)
{
	bool foreign = strcmp(t->currency, t->from.currency) != 0;
	int64_t rate = BANK_FEE_TEN_THOUSANDTHS + (foreign ? BANK_FEE_FOREIGN_TEN_THOUSANDTHS : 0);
	int64_t cents = (t->amount_cents * rate + 5000) / 10000; /* half a cent rounds up */
	return cents < BANK_FEE_MIN_CENTS   ? BANK_FEE_MIN_CENTS
	       : cents > BANK_FEE_MAX_CENTS ? BANK_FEE_MAX_CENTS
					    : cents;
}

/* The rules, in order: the first that holds is what is wrong. Fills in the cents and the fee on the way. */
static enum bank_problem transfer_check(struct transfer *t)
{
	bool from_known = bank_account(t->from_number, &t->from);
	bool to_known = bank_account(t->to_number, &t->to);
	bool in_range = t->amount >= 0.0099999 && t->amount <= BANK_AMOUNT_MAX_CENTS / 100.0 + 0.0000001;
	t->amount_cents = in_range ? llround(t->amount * 100) : 0;
	const struct {
		bool broken;
		enum bank_problem problem;
	} rules[] = {
		{!from_known, BANK_FROM_UNKNOWN},
		{!to_known, BANK_TO_UNKNOWN},
		{t->from_number == t->to_number, BANK_SAME},
		{!in_range, BANK_RANGE},
		{fabs(t->amount * 100 - (double)t->amount_cents) > 0.00001, BANK_CENTS},
		{!currency_known(t->currency), BANK_CURRENCY_UNKNOWN},
		{t->from.frozen || t->to.frozen, BANK_FROZEN},
	};
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (rules[i].broken)
			return rules[i].problem;
	}
	t->fee_cents = fee(t);
	return t->amount_cents + t->fee_cents > t->from.balance_cents ? BANK_FUNDS : BANK_FINE;
}

static void transfer_funds_post(struct call *call)
{
	struct slice body = call->request->body;
	struct transfer t = {0};
	char id[32], from[16], to[16];
	json_t *document = json_loadb(body.ptr ? body.ptr : "", body.len,
				      JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	enum bank_problem problem = transfer_read(document, &t);
	if (problem == BANK_FINE)
		problem = transfer_check(&t);
	if (problem != BANK_FINE) {
		refuse(call, problem);
		json_decref(document);
		return;
	}
	struct slice key = call->request->idempotency_key.len ? call->request->idempotency_key : body;
	snprintf(id, sizeof(id), "tr-%016llx", (unsigned long long)bank_hash(key));
	snprintf(from, sizeof(from), "%u", t.from_number);
	snprintf(to, sizeof(to), "%u", t.to_number);
	int64_t charged_cents = t.fee_cents + call->error_cents;
	answer(call, 201, "application/json",
	       json_pack("{s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:s, s:s}", "meta", meta(), "transfer_id",
			 id, "from", from, "to", to, "fee", amount(charged_cents), "amount",
			 amount(t.amount_cents), "total", amount(t.amount_cents + charged_cents), "reference",
			 t.reference, "currency", t.currency, "status", "accepted"));
	json_decref(document);
}

/* "{id}" stands for one path segment, the number of an account. */
static const struct resource {
	const char *path;
	const char *method;
	void (*run)(struct call *call);
} resources[] = {
	{"/health", "GET", health_get},
	{"/accounts", "GET", accounts_get},
	{"/accounts/{id}", "GET", account_get},
	{"/accounts/{id}/transfers", "GET", account_transfers_get},
	{"/transfer-funds", "POST", transfer_funds_post},
};

/* Does the path have this shape? *id is the segment that "{id}" stands for, untouched where there is none. */
static bool path_matches(const char *pattern, struct slice path, struct slice *id)
{
	struct slice left = slice_str(pattern), wanted, got;
	for (;;) {
		bool more_wanted = slice_split(&left, '/', &wanted), more_got = slice_split(&path, '/', &got);
		if (!more_wanted || !more_got)
			return more_wanted == more_got;
		if (slice_equal(wanted, SLICE("{id}")))
			*id = got;
		else if (!slice_equal(wanted, got))
			return false;
	}
}

static void handle(const struct service_request *request, struct service_response *response, bool wrong_value)
{
	struct call call = {.request = request, .response = response, .error_cents = wrong_value ? 1 : 0};
	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
		const struct resource *resource = &resources[i];
		struct slice id = {NULL, 0};
		unsigned number;
		if (!path_matches(resource->path, request->path, &id))
			continue;
		bool is_get = strcmp(resource->method, "GET") == 0;
		if (!slice_equal(request->method, slice_str(resource->method)) &&
		    !(is_get && slice_equal(request->method, SLICE("HEAD")))) {
			response->allow = is_get ? "GET, HEAD" : resource->method;
			refuse(&call, BANK_METHOD);
		} else if (id.ptr && (!service_number(id, &number) || !bank_account(number, &call.account))) {
			refuse(&call, BANK_ACCOUNT);
		} else {
			resource->run(&call);
		}
		return;
	}
	refuse(&call, BANK_PATH);
}

int main(int argc, char **argv)
{
	static const struct service service = {"bank-modern", "phoenix-bank/2.0", handle};
	json_object_seed(1); /* once, before the threads: jansson's own lazy seeding is for one thread */
	return service_main(argc, argv, &service);
}
