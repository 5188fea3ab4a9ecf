package emulator

import "time"

// A schedule runs tasks later, in the order in which they were added. The cloud's lock guards it
// and is held while a task runs.
type schedule struct {
	cloud   *Cloud
	tasks   []task
	timer   *time.Timer
	stopped bool
}

type task struct {
	due time.Time
	run func()
}

// after runs do when d has passed and all earlier tasks have run. It runs do at once if d is zero or
// negative and there are no earlier tasks.
func (g *schedule) after(d time.Duration, do func()) {
	due := time.Now().Add(d)
	if n := len(g.tasks); n > 0 {
		due = later(due, g.tasks[n-1].due)
	} else if d <= 0 {
		do()
		return
	}
	g.tasks = append(g.tasks, task{due, do})
	if len(g.tasks) == 1 {
		g.timer = time.AfterFunc(time.Until(due), g.run)
	}
}

func (g *schedule) run() {
	g.cloud.mu.Lock()
	defer g.cloud.unlock()
	for !g.stopped && len(g.tasks) > 0 && !time.Now().Before(g.tasks[0].due) {
		do := g.tasks[0].run
		g.tasks = g.tasks[1:]
		do()
	}
	if !g.stopped && len(g.tasks) > 0 {
		g.timer.Reset(time.Until(g.tasks[0].due))
	}
}

// stop discards the tasks that have not run.
func (g *schedule) stop() {
	g.stopped, g.tasks = true, nil
	if g.timer != nil {
		g.timer.Stop()
	}
}
