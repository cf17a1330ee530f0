package hub

import (
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// Fifty of each are most of what an idle person costs.
func TestEdgesAreSmall(t *testing.T) {
	t.Parallel()
	if e, s := unsafe.Sizeof(edge{}), unsafe.Sizeof(slot{}); e != 16 || s != 8 {
		t.Errorf("an edge has %d bytes and a slot %d, want 16 and 8", e, s)
	}
}

func TestEdgeBits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var e edge
		slot := rapid.Uint32().Draw(t, "slot")
		reasons := rapid.Uint8Range(0, sources).Draw(t, "sources")
		how := rapid.Uint8Range(sendChanges, sendOver).Draw(t, "send")
		over := rapid.Bool().Draw(t, "over")
		for _, set := range rapid.Permutation([]func(){
			func() { e.setSlot(slot) }, func() { e.bits |= reasons }, func() { e.setSend(sendOver); e.setSend(how) },
			func() { e.setOver(true); e.setOver(over) },
		}).Draw(t, "order") {
			set()
		}
		if e.slot() != min(slot, farSlot) || e.bits&sources != reasons || e.send() != how || e.over() != over {
			t.Fatalf("slot %d, sources %d, send %d, over %v became %d, %d, %d, %v",
				slot, reasons, how, over, e.slot(), e.bits&sources, e.send(), e.over())
		}
	})
}

// A slot that an edge has no room for is found by its watcher.
func TestFarSlots(t *testing.T) {
	t.Parallel()
	tg := &target{free: none}
	for watcher := uint32(1); watcher <= 3; watcher++ {
		tg.add(watcher, 10*watcher)
	}
	tg.veil(2, farSlot, true)
	if tg.slots[1].edge != 20|veiled {
		t.Errorf("the second slot has %#x, want it veiled", tg.slots[1].edge)
	}
	if edge, ok := tg.find(2); edge != 20 || !ok {
		t.Errorf("find says %d, %v, want 20", edge, ok)
	}
	tg.remove(2, farSlot)
	if _, ok := tg.find(2); ok || tg.free != 1 {
		t.Errorf("the first free slot is %d, want 1, which was the second watcher's", tg.free)
	}
}

func TestTableNumbers(t *testing.T) {
	t.Parallel()
	var (
		all table[int]
		wg  sync.WaitGroup
	)
	for g := range 4 {
		wg.Go(func() {
			for i := range 3000 {
				v := g*3000 + i
				n := all.add(&v)
				if n == 0 {
					t.Error("0 was given, which stands for none")
				}
				if got := all.at(n); got != &v {
					t.Errorf("%d has another's value", n)
				}
				if i%2 == 0 {
					all.remove(n)
				}
			}
		})
	}
	wg.Wait()
	if all.last > 4*1500+4 {
		t.Errorf("%d numbers for at most %d at once: those given back are not used again", all.last, 4*1500+4)
	}
}
