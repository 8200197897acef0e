/*
 * The protocol of DESIGN.md as allocator/ has it: return, drain, take over, share, reap and adopt,
 * while everybody may die. There is one arena. It has NS slabs of BPS blocks each. The bits of the
 * superslabs are in one pending word.
 *
 *   Owner    session 0, a peer with heap 0, which leases all slabs. It drains, allocates, and frees
 *            its own blocks by a plain store (clients.pml)
 *   Client   sessions 1 and 2. They free the owner's blocks, take over, share and release
 *            (clients.pml)
 *   Daemon   heap 1. It ends dead sessions (adopts, reaps) and drains its heap. When it dies, it
 *            starts again and recovers (daemon.pml)
 *
 * A step is what one atomic instruction does in the code. Whoever dies stops between two steps.
 * Whenever nothing moves, Judge looks at every block. tests/model/run says which configurations
 * (-D) are checked, and which mutations (-DM_...) must be found.
 */
#ifndef NS
#define NS 1
#endif
#ifndef BPS
#define BPS 2
#endif
#ifndef MAXD
#define MAXD 2            /* deaths of peers */
#endif
#ifndef MAXR
#define MAXR 1            /* deaths of the daemon */
#endif
#ifndef MORTAL
#define MORTAL 7          /* bit i: session i may die */
#endif
#ifndef OPS
#define OPS 1             /* operations of each client */
#endif
#ifndef OPS2
#define OPS2 OPS          /* of the second one */
#endif
#ifndef ALLOCS
#define ALLOCS 1          /* allocations of the owner, beside the blocks held at the start */
#endif
#ifndef LOOKS
#define LOOKS 0           /* how often the owner looks at all returned words, pending or not */
#endif
#ifndef REUSES
#define REUSES 0          /* second lives: how often a free slab is granted again, to heap 1 */
#endif
#define NB (NS * BPS)
#define BLOCKS(s) ((BIT(BPS) - 1) << FIRST(s))
#ifdef ONE_SUPERSLAB
#define SUPER(s) 0        /* all slabs lie in one superslab */
#else
#define SUPER(s) (s)      /* each slab in one of its own */
#endif
#define SLAB(b) ((b) / BPS)
#define BIT(i) (1 << (i))
#define FIRST(s) ((s) * BPS)

/* A peer is dead and its session has not ended. */
#define UNBURIED(s) (dead[s] && !forgotten[s])

#define FREE 0
#define HELD 1
#define RETURNING 2
#define SHARED 3
#define REAPER 7
#define NOBODY 6

/* block words: tag, generation, and holder, freer or sharers */
byte tag[NB], gen[NB], who[NB];
/* hints */
byte returned[NS];        /* bit i: look at block i of the slab */
bool spending[NS];        /* the slab's bit in its superslab */
byte hpending[2];         /* of a heap: bit per superslab */
bool hsummary[2];         /* of a heap: bit of its pending word */
byte owner[NS];           /* heap in the slab's header */
/* the daemon's ledger, which survives it: leased to session 0, or its own heap's */
bool leased[NS];
/* what a session touched, by its own account */
byte touched[3];
/* on their way to the daemon: slabs that the owner returned */
byte given;               /* bit per slab */
/* private to heaps, and gone with their process */
byte cache[2];            /* bit per block: in the heap's hands, free */
byte mine[2];             /* bit per slab */

bool dead[3], forgotten[3];
byte deaths, rdeaths;
bool owner_idle, daemon_idle;
byte finished;            /* clients that do nothing any more, dead or alive */
/* ghosts: how often a block was allocated, and by which allocation a ref came to be */
byte born[NB];

/* Between any two steps; `k` says whose death it is. A process that dies goes on at label `died`:
   a peer is buried, the daemon starts again. Some deaths are left out: those that nobody can tell
   from a death one step earlier or later. */
#define NEVER 0
#define PEER 1
#define DAEMON 2
inline may_die(k) {
  if
  :: k == PEER && mortal && deaths < MAXD -> deaths++; goto died
  :: k == DAEMON && rdeaths < MAXR -> rdeaths++; goto died
  :: true
  fi
}

inline set_bits(s, bits, k, force) {
  /* Arena::publish_returned: local before, known, h, hb */
#ifdef M_OWNER_EARLY
  h = owner[s];
#endif
  atomic { may_die(k); before = returned[s]; returned[s] = returned[s] | bits }
  if
#ifdef M_SKIP_RETURNED
  :: !force -> skip
#else
  :: before != 0 && !force -> skip
#endif
  :: else ->
    atomic { may_die(k); known = spending[s]; spending[s] = true }
#ifndef M_OWNER_EARLY
    atomic { may_die(k); h = owner[s] };
#endif
    if
#ifdef M_SKIP_SUPERSLAB
    :: !force -> skip
#else
    :: (known && !force) || h > 1 -> skip
#endif
    :: else ->
      atomic { may_die(k); hb = hpending[h]; hpending[h] = hpending[h] | BIT(SUPER(s)) }
      if
#ifdef M_SKIP_SUMMARY
      :: !force -> skip
#else
      :: hb != 0 && !force -> skip
#endif
      :: else -> atomic { may_die(k); hsummary[h] = true };
      fi
    fi
  fi
}

inline take_returned(me, s, k) {
  /* Heap::drain_slab: local r, i */
  atomic { may_die(k); r = returned[s]; returned[s] = 0 }
  i = 0;
  do
  :: i < BPS ->
    if
    :: (r & BIT(i)) != 0 ->
      atomic { may_die(k);
        if
#ifndef M_NO_WORD_TEST
        :: tag[FIRST(s) + i] != RETURNING -> skip
#else
        :: false -> skip
#endif
        :: else ->
          assert((cache[me] & BIT(FIRST(s) + i)) == 0);
          tag[FIRST(s) + i] = FREE; who[FIRST(s) + i] = 0;
          cache[me] = cache[me] | BIT(FIRST(s) + i)
        fi
      }
    :: else -> skip
    fi;
    i++
  :: else -> break
  od;
  i = 0; r = 0
}

inline drain(me, k) {
  /* Heap::drain, top down: local x, sl */
#ifndef M_PENDING_LATE
  atomic { may_die(k); hsummary[me] = false };
  atomic { may_die(k); x = hpending[me]; hpending[me] = 0 }
#else
  x = hpending[me];
#endif
  sl = 0;
  do
  :: sl < NS ->
    if
    :: (x & BIT(SUPER(sl))) != 0 && (mine[me] & BIT(sl)) != 0 && spending[sl] ->
#ifndef M_PENDING_LATE
      atomic { may_die(k); spending[sl] = false };
      take_returned(me, sl, k)
#else
      take_returned(me, sl, k);
      atomic { may_die(k); spending[sl] = false };
#endif
    :: else -> skip
    fi;
    sl++
  :: else -> break
  od;
#ifdef M_PENDING_LATE
  atomic { may_die(k); hpending[me] = hpending[me] & (BIT(NS) - 1 - x) };
  atomic { may_die(k); hsummary[me] = false };
#endif
  sl = 0; x = 0
}

inline heap_allocate(me, session) {
  /* FREE -> HELD: only the owner heap touches a FREE word */
  atomic {
    if
    :: (cache[me] & 1) != 0 -> b = 0
#if NB > 1
    :: (cache[me] & 2) != 0 -> b = 1
#endif
    fi;
    assert(tag[b] == FREE);
    cache[me] = cache[me] & (255 - BIT(b));
    tag[b] = HELD; who[b] = session; born[b]++;
    b = 0
  }
}

#include "clients.pml"
#include "daemon.pml"

/* Whenever nothing moves and no hint is pending, every block is in the hands of the one heap that
   has its slab, or somebody who lives holds it. */
proctype Judge() {
  byte b;
  atomic {
    finished == 2 && given == 0 && (dead[0] || (owner_idle && !hsummary[0])) && daemon_idle &&
      !hsummary[1] &&
      (!dead[0] || forgotten[0]) && (!dead[1] || forgotten[1]) && (!dead[2] || forgotten[2]) ->
    do
    :: b < NB ->
      if
      :: tag[b] == FREE -> assert((cache[0] & BIT(b)) + (cache[1] & BIT(b)) == BIT(b))
      :: tag[b] == HELD ->
        assert(who[b] < 3 && !dead[who[b]] && (cache[0] & BIT(b)) == 0 && (cache[1] & BIT(b)) == 0)
      :: tag[b] == SHARED ->
        assert(who[b] != 0 && !(dead[0] && (who[b] & 1) != 0) && !(dead[1] && (who[b] & 2) != 0) &&
               !(dead[2] && (who[b] & 4) != 0))
      :: tag[b] == RETURNING -> assert(false)
      fi;
      b++
    :: else -> break
    od
  }
}

init {
  byte b;
  atomic {
    do
    :: b < NB -> tag[b] = HELD; who[b] = 0; born[b] = 1; b++
    :: else -> break
    od;
    b = 0;
    do
    :: b < NS -> leased[b] = true; mine[0] = mine[0] | BIT(b); b++
    :: else -> break
    od;
    run Owner(); run Client(1); run Client(2); run Daemon(); run Judge()
  }
}
