/* SPDX-License-Identifier: Apache-2.0 */
/* evdev: open what can send KEY_POWER, ignore all else it says. */
#include "init/power.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"

struct device {
	struct power *power;
	char name[32];			/* "event0"; "": free */
	int fd;
	struct loop_src *src;
};

struct power {
	struct loop *loop;
	struct device v[POWER_DEVICES_MAX];
	void (*pressed)(void *arg);
	void *arg;
};

static void forget(struct device *d)
{
	loop_unwatch(&d->src);
	fd_close(&d->fd);
	d->name[0] = '\0';
}

static void on_input(void *arg, unsigned events)
{
	struct device *d = arg;
	struct input_event in;
	bool hit = false;
	ssize_t n;

	(void)events;
	while ((n = read(d->fd, &in, sizeof(in))) == (ssize_t)sizeof(in))
		hit = hit || (in.type == EV_KEY && in.code == KEY_POWER && in.value == 1);
	if (n == 0 || (n < 0 && events & LOOP_HUP))
		forget(d);
	if (hit)
		d->power->pressed(d->power->arg);
}

static bool has_power_key(int fd)
{
	unsigned char keys[KEY_MAX / 8 + 1] = { 0 };

	return ioctl(fd, EVIOCGBIT(EV_KEY, sizeof(keys)), keys) >= 0 && keys[KEY_POWER / 8] & 1 << KEY_POWER % 8;
}

static void take(struct power *p, const char *name)
{
	char path[64];
	struct device *slot = NULL;
	struct err e = ERR_INIT;
	AUTO_FD int fd = -1;

	for (int i = 0; i < POWER_DEVICES_MAX; i++) {
		if (strcmp(p->v[i].name, name) == 0)
			return;
		if (!p->v[i].name[0])
			slot = &p->v[i];
	}
	snprintf(path, sizeof(path), "/dev/input/%.40s", name);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (!slot || fd < 0 || !has_power_key(fd))
		return;
	slot->power = p;
	slot->fd = fd_take(&fd);
	snprintf(slot->name, sizeof(slot->name), "%s", name);
	if (loop_watch(p->loop, slot->fd, LOOP_READ, on_input, slot, &slot->src, &e) < 0)
		forget(slot);
}

void power_look(struct power *p)
{
	DIR *d = opendir("/dev/input");
	struct dirent *ent;

	while (d && (ent = readdir(d)))
		if (strncmp(ent->d_name, "event", 5) == 0 && strlen(ent->d_name) < sizeof(p->v[0].name))
			take(p, ent->d_name);
	if (d)
		closedir(d);
}

int power_new(struct loop *l, void (*pressed)(void *arg), void *arg, struct power **out, struct err *e)
{
	struct power *p = calloc(1, sizeof(*p));

	if (!p)
		return err_set(e, ERR_NO_SPACE, "no memory for the power button");
	*p = (struct power){ .loop = l, .pressed = pressed, .arg = arg };
	for (int i = 0; i < POWER_DEVICES_MAX; i++)
		p->v[i].fd = -1;
	power_look(p);
	*out = p;
	return 0;
}

void power_free(struct power *p)
{
	if (!p)
		return;
	for (int i = 0; i < POWER_DEVICES_MAX; i++)
		forget(&p->v[i]);
	free(p);
}
