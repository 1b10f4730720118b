/* SPDX-License-Identifier: Apache-2.0 */
/*
 * abnf: does a text match a rule of a grammar written in ABNF (RFC 5234, RFC 7405)?
 *
 * Slow and obvious on purpose: the grammar's text is read into a tree, a rule becomes a nondeterministic
 * automaton (Thompson 1968), and matching follows all of its states at once. Nothing here knows HTTP, so the
 * test that uses it says what the standard says and not what our parser does. Rules must not contain
 * themselves; those of a message head do not.
 */
#ifndef PHOENIX_TESTS_HTTP_ABNF_H
#define PHOENIX_TESTS_HTTP_ABNF_H

#include "base/slice.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define ABNF_NODES_MAX	2000
#define ABNF_RULES_MAX	120
#define ABNF_STATES_MAX 4000

enum abnf_kind { ABNF_BYTES, ABNF_SEQUENCE, ABNF_CHOICE, ABNF_REPEAT, ABNF_RULE };

struct abnf_node {
	enum abnf_kind kind;
	uint64_t set[4];		/* BYTES: the bytes of which one must come */
	unsigned least, most;		/* REPEAT; most 0 = any number */
	struct slice name;		/* RULE */
	struct abnf_node *first, *next; /* children */
};

struct abnf {
	struct abnf_node nodes[ABNF_NODES_MAX];
	unsigned node_count;
	struct {
		struct slice name;
		struct abnf_node *node;
	} rules[ABNF_RULES_MAX];
	unsigned rule_count;
};

/* A state takes one byte of `set` and goes to `next`, or none and goes to both `next` and `other`. */
struct abnf_state {
	uint64_t set[4];
	int next, other;
	bool takes;
};

struct abnf_matcher {
	struct abnf_state states[ABNF_STATES_MAX];
	int count, start;
	int list[2][ABNF_STATES_MAX], list_count[2];
	unsigned seen[ABNF_STATES_MAX], step;
};

static inline void abnf_die(const char *what, struct slice at)
{
	fprintf(stderr, "the grammar is wrong: %s at \"%.*s\"\n", what, (int)(at.len < 40 ? at.len : 40),
		at.ptr);
	exit(1);
}

static inline void abnf_set_add(uint64_t *set, unsigned byte)
{
	set[byte >> 6] |= UINT64_C(1) << (byte & 63);
}

/* --- text -> tree --------------------------------------------------------------------------------------- */

static inline struct abnf_node *abnf_node_make(struct abnf *abnf, enum abnf_kind kind)
{
	if (abnf->node_count == ABNF_NODES_MAX)
		abnf_die("too many nodes", SLICE(""));
	struct abnf_node *node = &abnf->nodes[abnf->node_count++];
	*node = (struct abnf_node){.kind = kind};
	return node;
}

static inline struct abnf_node *abnf_add_child(struct abnf_node *parent, struct abnf_node *child)
{
	struct abnf_node **link = &parent->first;
	while (*link)
		link = &(*link)->next;
	return *link = child;
}

static inline char abnf_peek(const struct slice *s)
{
	return s->len ? s->ptr[0] : 0;
}

static inline void abnf_skip(struct slice *s, size_t n)
{
	s->ptr += n;
	s->len -= n;
}

static inline void abnf_skip_space(struct slice *s)
{
	while (abnf_peek(s) == ' ' || abnf_peek(s) == '\t')
		abnf_skip(s, 1);
}

static inline unsigned abnf_number(struct slice *s, int base)
{
	unsigned value = 0;
	while (isxdigit((unsigned char)abnf_peek(s)) &&
	       (base == 16 || isdigit((unsigned char)abnf_peek(s)))) {
		char digit[2] = {abnf_peek(s), 0};
		value = value * (unsigned)base + (unsigned)strtoul(digit, NULL, 16);
		abnf_skip(s, 1);
	}
	return value;
}

/* "text", letters in either case unless it is %s"text". */
static inline struct abnf_node *abnf_parse_string(struct abnf *abnf, struct slice *s, bool exact)
{
	struct abnf_node *sequence = abnf_node_make(abnf, ABNF_SEQUENCE);
	abnf_skip(s, 1);
	while (abnf_peek(s) != '"') {
		if (!s->len)
			abnf_die("no end of string", *s);
		struct abnf_node *bytes = abnf_add_child(sequence, abnf_node_make(abnf, ABNF_BYTES));
		unsigned char c = (unsigned char)abnf_peek(s);
		abnf_set_add(bytes->set, exact ? c : (unsigned)tolower(c));
		abnf_set_add(bytes->set, exact ? c : (unsigned)toupper(c));
		abnf_skip(s, 1);
	}
	abnf_skip(s, 1);
	return sequence;
}

static inline struct abnf_node *abnf_parse_choice(struct abnf *abnf, struct slice *s);

static inline struct abnf_node *abnf_parse_element(struct abnf *abnf, struct slice *s)
{
	struct abnf_node *node;
	char c = abnf_peek(s);
	if (c == '(' || c == '[') {
		abnf_skip(s, 1);
		node = abnf_parse_choice(abnf, s);
		if (abnf_peek(s) != (c == '(' ? ')' : ']'))
			abnf_die("no end of group", *s);
		abnf_skip(s, 1);
		if (c == '(')
			return node;
		struct abnf_node *option = abnf_node_make(abnf, ABNF_REPEAT);
		option->most = 1;
		abnf_add_child(option, node);
		return option;
	}
	if (c == '"')
		return abnf_parse_string(abnf, s, false);
	if (c == '%' && s->len > 1 && s->ptr[1] == 's') {
		abnf_skip(s, 2);
		return abnf_parse_string(abnf, s, true);
	}
	if (c == '%') {
		abnf_skip(s, 2);
		unsigned low = abnf_number(s, 16), high = low;
		if (abnf_peek(s) == '-') {
			abnf_skip(s, 1);
			high = abnf_number(s, 16);
		}
		node = abnf_node_make(abnf, ABNF_BYTES);
		for (unsigned byte = low; byte <= high; byte++)
			abnf_set_add(node->set, byte);
		return node;
	}
	if (!isalpha((unsigned char)c))
		abnf_die("no element", *s);
	node = abnf_node_make(abnf, ABNF_RULE);
	node->name = slice_of(s->ptr, 0);
	while (isalnum((unsigned char)abnf_peek(s)) || abnf_peek(s) == '-') {
		node->name.len++;
		abnf_skip(s, 1);
	}
	return node;
}

static inline struct abnf_node *abnf_parse_repetition(struct abnf *abnf, struct slice *s)
{
	bool counted = isdigit((unsigned char)abnf_peek(s));
	unsigned least = counted ? abnf_number(s, 10) : 0, most = least;
	if (abnf_peek(s) == '*') {
		counted = true;
		abnf_skip(s, 1);
		most = isdigit((unsigned char)abnf_peek(s)) ? abnf_number(s, 10) : 0;
	}
	struct abnf_node *element = abnf_parse_element(abnf, s);
	if (!counted)
		return element;
	struct abnf_node *repeat = abnf_node_make(abnf, ABNF_REPEAT);
	repeat->least = least;
	repeat->most = most;
	abnf_add_child(repeat, element);
	return repeat;
}

static inline struct abnf_node *abnf_parse_choice(struct abnf *abnf, struct slice *s)
{
	struct abnf_node *choice = abnf_node_make(abnf, ABNF_CHOICE);
	do {
		struct abnf_node *sequence = abnf_add_child(choice, abnf_node_make(abnf, ABNF_SEQUENCE));
		if (abnf_peek(s) == '/')
			abnf_skip(s, 1);
		abnf_skip_space(s);
		while (s->len && !strchr("/)]\n", abnf_peek(s))) {
			abnf_add_child(sequence, abnf_parse_repetition(abnf, s));
			abnf_skip_space(s);
		}
	} while (abnf_peek(s) == '/');
	return choice;
}

static inline struct abnf_node *abnf_rule(struct abnf *abnf, struct slice name)
{
	for (unsigned i = 0; i < abnf->rule_count; i++) {
		if (slice_equal_nocase(abnf->rules[i].name, name))
			return abnf->rules[i].node;
	}
	abnf_die("no such rule", name);
	return NULL;
}

/* Reads a grammar: rules of one line each, "name = definition". The text must outlive it. */
static inline void abnf_read(struct abnf *abnf, const char *text)
{
	struct slice s = slice_str(text);
	*abnf = (struct abnf){0};
	while (s.len) {
		struct slice name = slice_of(s.ptr, strcspn(s.ptr, " "));
		abnf_skip(&s, name.len);
		abnf_skip_space(&s);
		if (abnf_peek(&s) != '=' || abnf->rule_count == ABNF_RULES_MAX)
			abnf_die("no rule", s);
		abnf_skip(&s, 1);
		abnf_skip_space(&s);
		abnf->rules[abnf->rule_count].name = name;
		abnf->rules[abnf->rule_count++].node = abnf_parse_choice(abnf, &s);
		if (abnf_peek(&s) != '\n')
			abnf_die("no end of rule", s);
		abnf_skip(&s, 1);
	}
}

/* --- tree -> automaton ---------------------------------------------------------------------------------- */

static inline int abnf_state(struct abnf_matcher *matcher, int next, int other)
{
	if (matcher->count == ABNF_STATES_MAX)
		abnf_die("too many states", SLICE(""));
	matcher->states[matcher->count] = (struct abnf_state){.next = next, .other = other};
	return matcher->count++;
}

/* Does the node always take exactly one byte? Then adds which. */
static inline bool abnf_is_one_byte(struct abnf *abnf, const struct abnf_node *node, uint64_t *set)
{
	switch (node->kind) {
	case ABNF_BYTES:
		for (unsigned i = 0; i < 4; i++)
			set[i] |= node->set[i];
		return true;
	case ABNF_RULE:
		return abnf_is_one_byte(abnf, abnf_rule(abnf, node->name), set);
	case ABNF_CHOICE:
		for (const struct abnf_node *child = node->first; child; child = child->next) {
			if (!abnf_is_one_byte(abnf, child, set))
				return false;
		}
		return true;
	case ABNF_SEQUENCE:
		return node->first && !node->first->next && abnf_is_one_byte(abnf, node->first, set);
	default:
		return false;
	}
}

/* Returns the state to begin at so that after the node the automaton is in state `next`. */
static inline int abnf_compile(struct abnf *abnf, struct abnf_matcher *matcher, const struct abnf_node *node,
			       int next);

static inline int abnf_compile_from(struct abnf *abnf, struct abnf_matcher *matcher,
				    const struct abnf_node *child, int next)
{
	return child ? abnf_compile(abnf, matcher, child, abnf_compile_from(abnf, matcher, child->next, next))
		     : next;
}

static inline int abnf_compile_repeat(struct abnf *abnf, struct abnf_matcher *matcher,
				      const struct abnf_node *node, int next)
{
	int at = next;
	if (node->most == 0) {
		at = abnf_state(matcher, -1, next);
		int again = abnf_compile(abnf, matcher, node->first, at);
		matcher->states[at].next = again;
	}
	for (unsigned i = node->least; i < node->most; i++)
		at = abnf_state(matcher, abnf_compile(abnf, matcher, node->first, at), next);
	for (unsigned i = 0; i < node->least; i++)
		at = abnf_compile(abnf, matcher, node->first, at);
	return at;
}

static inline int abnf_compile(struct abnf *abnf, struct abnf_matcher *matcher, const struct abnf_node *node,
			       int next)
{
	uint64_t set[4] = {0};
	if (abnf_is_one_byte(abnf, node, set)) {
		int at = abnf_state(matcher, next, -1);
		memcpy(matcher->states[at].set, set, sizeof(set));
		matcher->states[at].takes = true;
		return at;
	}
	if (node->kind == ABNF_RULE)
		return abnf_compile(abnf, matcher, abnf_rule(abnf, node->name), next);
	if (node->kind == ABNF_SEQUENCE)
		return abnf_compile_from(abnf, matcher, node->first, next);
	if (node->kind == ABNF_REPEAT)
		return abnf_compile_repeat(abnf, matcher, node, next);
	int at = -1;
	for (const struct abnf_node *child = node->first; child; child = child->next) {
		int start = abnf_compile(abnf, matcher, child, next);
		at = at < 0 ? start : abnf_state(matcher, at, start);
	}
	return at;
}

/* Makes the matcher of one rule. State 0 is the end. */
static inline struct abnf_matcher *abnf_matcher_create(struct abnf *abnf, const char *rule)
{
	struct abnf_matcher *matcher = calloc(1, sizeof(*matcher));
	if (!matcher)
		abort();
	abnf_state(matcher, -1, -1);
	matcher->start = abnf_compile(abnf, matcher, abnf_rule(abnf, slice_str(rule)), 0);
	return matcher;
}

/* --- matching ------------------------------------------------------------------------------------------- */

static inline void abnf_enter(struct abnf_matcher *matcher, int which, int state)
{
	while (state >= 0 && matcher->seen[state] != matcher->step) {
		const struct abnf_state *s = &matcher->states[state];
		matcher->seen[state] = matcher->step;
		if (s->takes || state == 0) {
			matcher->list[which][matcher->list_count[which]++] = state;
			return;
		}
		abnf_enter(matcher, which, s->other);
		state = s->next;
	}
}

/* Is all of the text one that the rule describes? */
static inline bool abnf_matches(struct abnf_matcher *matcher, struct slice text)
{
	int now = 0;
	matcher->step++;
	matcher->list_count[now] = 0;
	abnf_enter(matcher, now, matcher->start);
	for (size_t i = 0; i < text.len && matcher->list_count[now]; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		matcher->step++;
		matcher->list_count[!now] = 0;
		for (int k = 0; k < matcher->list_count[now]; k++) {
			const struct abnf_state *s = &matcher->states[matcher->list[now][k]];
			if (s->takes && s->set[c >> 6] >> (c & 63) & 1)
				abnf_enter(matcher, !now, s->next);
		}
		now = !now;
	}
	for (int k = 0; k < matcher->list_count[now]; k++) {
		if (matcher->list[now][k] == 0)
			return true;
	}
	return false;
}

#endif
