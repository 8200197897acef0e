/*
 * The lock of a peer's heap (client/include/arenad/peer_cache.h and client/lib/peer_heap.cc): its
 * owner enters with plain loads and stores. Another thread sends it out, works in the heap, and
 * lets it in again.
 *
 *   Owner    enters OPS times, on the fast way or the slow one
 *   Buffer   the store buffer of the owner's core. A plain store of the owner waits there and goes
 *            to memory at any later time, in order (as on x86). A seq_cst store waits until the
 *            buffer is empty
 *   Other    works in the heap VISITS times, or gives up when the owner does not come out. What it
 *            stores is in memory at once
 *
 * The owner's loads see its own stores, wherever they are. Never may both be in the heap.
 * tests/model/run says what is checked.
 */
#ifndef OPS
#define OPS 3
#endif
#ifndef VISITS
#define VISITS 3
#endif

#define HEAP 1            /* this heap is in front of its owner's cache */
#define NONE 0

/* memory */
bool busy, wanted;
byte front;
/* the store buffer: a variable and its value. The owner's last front that is not in memory yet */
#define BUSY 0
#define FRONT 1
chan buffer = [4] of { byte, byte };
bool front_waits;
byte waiting_front;

bool others;              /* the mutex */
/* ghosts: who is in the heap */
bool owner_in, other_in;

inline to_memory(variable, value) {
  if
  :: variable == BUSY -> busy = value
  :: else -> front = value; front_waits = false
  fi
}

inline store_busy(value) { buffer ! BUSY, value }

inline store_front_seq_cst(value) { atomic { empty(buffer) -> front = value } }

inline load_front() {                /* to local seen */
  atomic { if :: front_waits -> seen = waiting_front :: else -> seen = front fi }
}

inline in_the_heap() {
  atomic { owner_in = true; assert(!other_in) };
  owner_in = false
}

/* PeerCache::bring_to_front */
inline bring_to_front() {            /* local seen */
#ifdef M_FRONT_UNSURE
  atomic { buffer ! FRONT, HEAP; front_waits = true; waiting_front = HEAP };
#else
  store_front_seq_cst(HEAP);
#endif
#ifndef M_WANTED_UNSEEN
  seen = wanted;
  if
  :: seen -> atomic { buffer ! FRONT, NONE; front_waits = true; waiting_front = NONE }
  :: else -> skip
  fi;
#endif
  seen = 0
}

/* PeerCache::enter_slow */
inline enter_slow() {
  store_busy(0);                     /* leave */
  bring_to_front();
  store_busy(1);                     /* PeerHeap::enter */
  do
  :: atomic { !wanted -> break }
  :: atomic { wanted -> skip };
    store_busy(0);
    atomic { !others -> others = true };
    others = false;
    store_busy(1)
  od
}

proctype Owner() {
  byte ops, seen;
  bool has_put;
  do
  :: !has_put -> has_put = true;     /* PeerCache::put, when the thread makes the heap its own */
    bring_to_front()
  :: ops < OPS ->
    ops++;
#ifdef M_LOOKS_FIRST
    load_front();
    store_busy(1);
#else
    store_busy(1);
    load_front();
#endif
    if
    :: seen == HEAP -> skip
    :: else ->
      enter_slow()
    fi;
    in_the_heap();
    atomic { buffer ! BUSY, 0; seen = 0 }   /* leave */
  :: ops == OPS -> break
  od
}

proctype Buffer() {
  byte variable, value;
  do
  :: atomic { buffer ? variable, value -> to_memory(variable, value); variable = 0; value = 0 }
  od
}

/* membarrier: the owner's core has emptied its buffer since the call began */
inline barrier() {                   /* local variable, value */
#ifndef M_NO_BARRIER
  atomic {
    do
    :: buffer ? variable, value -> to_memory(variable, value)
    :: empty(buffer) -> break
    od;
    variable = 0; value = 0
  }
#else
  skip
#endif
}

proctype Other() {
  byte visits, variable, value;
  bool out;
  do
  :: visits < VISITS ->
    visits++;
    atomic { !others -> others = true };
#ifdef M_FRONT_FIRST
    atomic { if :: front == HEAP -> front = NONE :: else -> skip fi };
    wanted = true;
#else
    wanted = true;
#ifdef M_BARRIER_EARLY
    barrier();
#endif
    atomic { if :: front == HEAP -> front = NONE :: else -> skip fi };
#endif
#ifndef M_BARRIER_EARLY
    barrier();
#endif
    if
    :: atomic { !busy -> out = true }
    :: out = false                   /* its patience is over */
    fi;
    if
    :: out ->
      atomic { other_in = true; assert(!owner_in) };
      other_in = false
    :: else -> skip
    fi;
    atomic { wanted = false; out = false };
    others = false
  :: else -> break
  od
}

init { atomic { run Owner(); run Buffer(); run Other() } }
