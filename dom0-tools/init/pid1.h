/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PID 1.  When it ends the kernel panics, so it does as little as possible:
 * it starts the manager (`hvinit --manager`), starts it again when it ends,
 * reaps what the kernel gives it, and does the last step of a shutdown.
 *
 * It allocates nothing, asserts nothing, parses nothing from outside and does
 * not use base/.  A manager that crashes leaves its children to PID 1; how
 * they ended is told to the next manager through a pipe of struct pid1_report.
 */
#ifndef INIT_PID1_H
#define INIT_PID1_H

#include <stdint.h>

enum {
	PID1_EXIT_POWEROFF = 100,	/* exit statuses by which the manager asks for the last step */
	PID1_EXIT_REBOOT = 101,
	PID1_REPORT_FD = 3,		/* read end of the pipe, in the manager */
	PID1_RESTART_MS_FIRST = 200,	/* wait before the manager is started again; doubles */
	PID1_RESTART_MS_MAX = 10000,
	PID1_HEALTHY_MS = 60000,	/* a manager that lived so long starts at FIRST again */
	PID1_KILL_WAIT_MS = 3000,	/* for everybody to be gone before power goes */
};

/* One orphan that was reaped; status as waitpid gives it. */
struct pid1_report {
	int32_t pid;
	int32_t status;
};

/* Makes /dev/console our stdio: the kernel opens it for us only if the root has the node. */
void pid1_open_console(void);
/* Never returns.  `self` is the path of this program. */
void pid1_run(const char *self) __attribute__((noreturn));

#endif
