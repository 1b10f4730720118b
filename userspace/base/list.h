/* SPDX-License-Identifier: Apache-2.0 */
/* list: a doubly linked ring of links embedded in their owners. An unlinked link points at itself. */
#ifndef PHOENIX_BASE_LIST_H
#define PHOENIX_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *link)
{
	link->prev = at->prev;
	link->next = at;
	at->prev->next = link;
	at->prev = link;
}

static inline void list_push_back(struct list *head, struct list *link)
{
	list_insert_before(head, link);
}

static inline void list_push_front(struct list *head, struct list *link)
{
	list_insert_before(head->next, link);
}

/* Unlinks; harmless when not linked. */
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* The first link, taken off; NULL when empty. */
static inline struct list *list_pop(struct list *head)
{
	if (list_empty(head))
		return NULL;
	struct list *first = head->next;
	list_remove(first);
	return first;
}

#endif
