package emulator

import "time"

// An agenda is what will be done later, in the order in which it was put there, so that nothing overtakes. It is guarded by
// the cloud's lock, which is held too when something is done.
type agenda struct {
	cloud *Cloud
	tasks []task
	timer *time.Timer
	over  bool
}

type task struct {
	due time.Time
	do  func()
}

// after does something after d and after all that is on the agenda; at once if both have passed.
func (g *agenda) after(d time.Duration, do func()) {
	due := time.Now().Add(d)
	if n := len(g.tasks); n > 0 {
		due = later(due, g.tasks[n-1].due)
	} else if d <= 0 {
		do()
		return
	}
	g.tasks = append(g.tasks, task{due, do})
	if len(g.tasks) == 1 {
		g.timer = time.AfterFunc(time.Until(due), g.work)
	}
}

func (g *agenda) work() {
	g.cloud.mu.Lock()
	defer g.cloud.unlock()
	for !g.over && len(g.tasks) > 0 && !time.Now().Before(g.tasks[0].due) {
		do := g.tasks[0].do
		g.tasks = g.tasks[1:]
		do()
	}
	if !g.over && len(g.tasks) > 0 {
		g.timer.Reset(time.Until(g.tasks[0].due))
	}
}

// drop forgets what was not done yet.
func (g *agenda) drop() {
	g.over, g.tasks = true, nil
	if g.timer != nil {
		g.timer.Stop()
	}
}
