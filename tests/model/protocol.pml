/*
 * The protocol of DESIGN.md section 4 as allocator/ has it: return, drain, take over, share, reap, adopt, and everybody may die.
 * One arena with NS slabs of BPS blocks each; the superslabs' bits lie in one pending word.
 *
 *   Owner    session 0, a peer with heap 0, which leases all slabs: drains, allocates, frees its own by a plain store
 *   Client   sessions 1 and 2: frees of the owner's blocks, take-over, share, release
 *   Daemon   heap 1: ends dead sessions (adopts, reaps), drains its heap; when it dies it starts again and recovers
 *
 * A step is what is one atomic instruction in the code. Whoever dies stops between two steps. Whenever nothing moves, Judge
 * looks at every block. tests/model/run says which configurations (-D) are checked, and which mutations (-DM_...) must be found.
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
#define ALLOCS 1          /* allocations of the owner, beside the blocks that are out at the start */
#endif
#ifndef LOOKS
#define LOOKS 0           /* how often the owner looks at all returned words, pending or not */
#endif
#define NB (NS * BPS)
#ifdef ONE_SUPERSLAB
#define SUPER(s) 0        /* all slabs lie in one superslab */
#else
#define SUPER(s) (s)      /* each slab in one of its own */
#endif
#define SLAB(b) ((b) / BPS)
#define BIT(i) (1 << (i))
#define FIRST(s) ((s) * BPS)

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
/* private to heaps, and gone with their process */
byte cache[2];            /* bit per block: in the heap's hands, free */
byte mine[2];             /* bit per slab */

bool dead[3], forgotten[3];
byte deaths, rdeaths;
bool owner_idle, daemon_idle;
byte finished;            /* clients that do nothing any more, dead or alive */
/* ghosts: how often a block was allocated, and by which allocation a ref came to be */
byte born[NB];

/* Between any two steps; `k` says whose death it is. Died at, a process goes on at its label `died`: a peer to be buried, the daemon
   to start again. A death that nobody can tell from one a step earlier or later is left out. */
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

proctype Owner() {
  byte r, i, x, sl, b, allocs, g, looks;
  bool mortal = MORTAL & 1;
  do
  :: hsummary[0] ->
    drain(0, PEER)
  :: looks < LOOKS ->                      /* drain_everything: all returned words, pending or not */
    looks++;
    sl = 0;
    do
    :: sl < NS ->
      if
      :: returned[sl] != 0 ->
        take_returned(0, sl, PEER)
      :: else -> skip
      fi;
      sl++
    :: else -> break
    od;
    sl = 0
  :: allocs < ALLOCS && cache[0] != 0 -> allocs++;
    heap_allocate(0, 0)
#ifdef OWN_FREE
  :: allocs < ALLOCS ->                /* Heap::free of an own block: an exact check, and a store */
    allocs++;
    if :: b = 0 :: b = NB - 1 fi;
    atomic { g = gen[b]; if :: tag[b] != HELD -> b = 255 :: else -> skip fi };
    if
    :: b != 255 ->
      atomic { may_die(PEER);
        /* whoever changed the word since loses; the block is free once, and in this heap's hands */
        tag[b] = FREE; gen[b] = (g + 1) % 4; who[b] = 0;
        assert((cache[0] & BIT(b)) == 0);
        cache[0] = cache[0] | BIT(b)
      }
    :: else -> skip
    fi;
    b = 0; g = 0
#endif
  :: atomic {
       owner_idle = true;
       if
       :: hsummary[0] || (allocs < ALLOCS && cache[0] != 0) || looks < LOOKS
       :: mortal && deaths < MAXD -> deaths++; goto died
       fi;
       owner_idle = false
     }
  od;
died:
  atomic { dead[0] = true; owner_idle = false; cache[0] = 0; mine[0] = 0 }
}

proctype Client(byte me) {
  byte before, h, hb, b, g, a, ops, s, next;
  bool known, ok, mortal = (MORTAL >> me) & 1;
  do
  :: ops < (me == 1 -> OPS : OPS2) ->
    ops++;
    if
    :: b = 0
#if NB > 1
    :: b = NB - 1
#endif
    fi;
    /* the ref that it was handed: of the block as it is now, or was when it was handed out */
    atomic { if :: tag[b] == HELD || tag[b] == SHARED -> g = gen[b]; a = born[b] :: g = 0; a = 1 fi };
    s = SLAB(b);
#ifndef M_TOUCH_LATE
    atomic { may_die(PEER); touched[me] = touched[me] | BIT(s) };
#endif
    may_die(PEER);
    ok = false;
    if
    :: true ->
#ifdef M_FREE_STORE
      if :: tag[b] == HELD && gen[b] == g -> ok = true :: else -> skip fi;
      if :: ok -> atomic { tag[b] = RETURNING; gen[b] = (g + 1) % 4; who[b] = me } :: else -> skip fi;
#else
      atomic {
        if
        :: tag[b] == HELD && gen[b] == g ->
          assert(a == born[b]);        /* no stale ref frees */
          tag[b] = RETURNING; gen[b] = (g + 1) % 4; who[b] = me; ok = true
        :: else -> skip
        fi
      }
#endif
#ifdef TAKE
    :: true ->
#ifdef M_TAKE_STORE
      if :: tag[b] == HELD && gen[b] == g -> next = 1 :: else -> next = 0 fi;
      if :: next == 1 -> atomic { tag[b] = HELD; gen[b] = g; who[b] = me } :: else -> skip fi;
      next = 0;
#else
      atomic { if :: tag[b] == HELD && gen[b] == g -> who[b] = me :: else -> skip fi }
#endif
#endif
#ifdef SHARE
    :: true ->
      atomic {                         /* share: what it holds, or what is shared already */
        if
        :: tag[b] == HELD && gen[b] == g && who[b] == me -> tag[b] = SHARED; who[b] = BIT(me)
        :: tag[b] == SHARED && gen[b] == g -> who[b] = who[b] | BIT(me)
        :: else -> skip
        fi
      }
    :: true ->
      atomic {                         /* release; the last one frees */
        if
        :: tag[b] == SHARED && gen[b] == g && (who[b] & BIT(me)) != 0 ->
          if
          :: (who[b] & (255 - BIT(me))) != 0 -> who[b] = who[b] & (255 - BIT(me))
          :: else ->
            assert(a == born[b]);
            tag[b] = RETURNING; who[b] = me;
#ifndef M_RELEASE_KEEPS_GENERATION
            gen[b] = (g + 1) % 4;
#endif
#ifndef M_RELEASE_UNPUBLISHED
            ok = true
#endif
          fi
        :: else -> skip
        fi
      }
#endif
    fi;
#ifdef M_TOUCH_LATE
    atomic { may_die(PEER); touched[me] = touched[me] | BIT(s) };
#endif
    if
    :: ok ->
      set_bits(s, BIT(b - FIRST(s)), PEER, false)
    :: else -> skip
    fi;
    atomic { before = 0; h = 0; hb = 0; known = false; ok = false; b = 0; g = 0; a = 0; s = 0 }
  :: else -> break
  od;
  /* its work is done, but not its life: what it holds it holds until it dies */
  if :: mortal && deaths < MAXD -> deaths++; goto died :: true fi;
  goto done;
died:
  dead[me] = true;
done:
  finished++
}

inline adopt(s, d) {
  /* Heap::adopt by heap 1 of slab s; session d is dead (NOBODY: none is); local b */
#ifndef M_OWNER_LAST
  atomic { may_die(DAEMON); owner[s] = 1 };
#endif
  atomic { may_die(DAEMON); leased[s] = false };
  mine[1] = mine[1] | BIT(s);
  b = FIRST(s);
  do
  :: b < FIRST(s) + BPS ->
    atomic { may_die(DAEMON);
      if
      :: tag[b] == FREE -> cache[1] = cache[1] | BIT(b)
#ifndef M_ADOPTER_LEAVES_RETURNING
      :: tag[b] == RETURNING -> tag[b] = FREE; who[b] = 0; cache[1] = cache[1] | BIT(b)
#endif
      :: tag[b] == HELD && who[b] == d -> tag[b] = FREE; gen[b] = (gen[b] + 1) % 4; who[b] = 0; cache[1] = cache[1] | BIT(b)
      :: tag[b] == SHARED && d != NOBODY && (who[b] & BIT(d)) != 0 ->
        who[b] = who[b] & (255 - BIT(d));
        if
        :: who[b] == 0 -> tag[b] = FREE; gen[b] = (gen[b] + 1) % 4; cache[1] = cache[1] | BIT(b)
        :: else -> skip
        fi
      :: else -> skip
      fi
    };
    b++
  :: else -> break
  od;
  b = 0;
#ifndef M_ADOPTER_SILENT
  if
#ifdef M_ADOPTER_TRUSTS_PENDING
  :: returned[s] != 0 ->
#else
  :: returned[s] != 0 || spending[s] ->
#endif
    set_bits(s, 0, DAEMON, true)
  :: else -> skip
  fi;
#endif
#ifdef M_OWNER_LAST
  atomic { may_die(DAEMON); owner[s] = 1 };
#endif
  skip
}

inline raise_summaries(k) {
#ifndef M_SUMMARIES_STAND
  if
  :: hpending[0] != 0 -> atomic { may_die(k); hsummary[0] = true }
  :: else -> skip
  fi;
  if
  :: hpending[1] != 0 -> atomic { may_die(k); hsummary[1] = true }
  :: else -> skip
  fi
#else
  skip
#endif
}

inline reap_slab(s, d) {
  /* Arena::reap in slab s of another's heap; local b, bits */
  b = FIRST(s); bits = 0;
  do
  :: b < FIRST(s) + BPS ->
    atomic { may_die(DAEMON);
      if
      :: tag[b] == HELD && who[b] == d -> tag[b] = RETURNING; gen[b] = (gen[b] + 1) % 4; who[b] = REAPER
#ifndef M_REAPER_FORGETS_SHARERS
      :: tag[b] == SHARED && (who[b] & BIT(d)) != 0 ->
        who[b] = who[b] & (255 - BIT(d));
        if
        :: who[b] == 0 -> tag[b] = RETURNING; gen[b] = (gen[b] + 1) % 4; who[b] = REAPER
        :: else -> skip
        fi
#endif
      :: else -> skip
      fi;
      if
#ifdef M_REAPER_SKIPS_RETURNING
      :: tag[b] == RETURNING && who[b] == REAPER -> bits = bits | BIT(b - FIRST(s))
#else
      :: tag[b] == RETURNING && (who[b] == d || who[b] == REAPER) -> bits = bits | BIT(b - FIRST(s))
#endif
      :: else -> skip
      fi
    };
    b++
  :: else -> break
  od;
  b = 0;
  if
#ifdef M_REAPER_SILENT
  :: bits != 0 ->
#elif defined(M_REAPER_TRUSTS_PENDING)
  :: bits != 0 || returned[s] != 0 ->
#else
  :: bits != 0 || returned[s] != 0 || spending[s] ->
#endif
#ifdef M_REAPER_UNFORCED
    set_bits(s, bits, DAEMON, false)
#else
    set_bits(s, bits, DAEMON, true)
#endif
  :: else -> skip
  fi;
  bits = 0
}

inline end_session(d, everywhere) {
  t = 0;
  do
  :: t < NS ->
    if
    :: d == 0 && leased[t] ->
      adopt(t, d)
    :: else -> skip
    fi;
    t++
  :: else -> break
  od;
  t = 0;
  do
  :: t < NS ->
    if
    :: (everywhere || (touched[d] & BIT(t)) != 0) && !(d == 0 && leased[t]) ->
      reap_slab(t, d)
    :: else -> skip
    fi;
    t++
  :: else -> break
  od;
  t = 0;
  raise_summaries(DAEMON);
  atomic { may_die(DAEMON); touched[d] = 0; forgotten[d] = true }
}

proctype Daemon() {
  byte before, h, hb, b, bits, t, r, i, x, sl, frees;
  bool known, everywhere, mortal;
  do
  :: atomic {
     daemon_idle = true;
     if
     :: hsummary[1] || (dead[0] && !forgotten[0]) || (dead[1] && !forgotten[1]) || (dead[2] && !forgotten[2])
     :: rdeaths < MAXR -> rdeaths++; goto died
     fi;
     daemon_idle = false
     }
#ifdef DAEMON_FREES
  :: frees < 1 ->                      /* Heap::free_checked for a session without heaps: of a block of the peer's */
     frees++;
     atomic {
       may_die(DAEMON);
       if
       :: tag[0] == HELD && leased[0] -> tag[0] = RETURNING; gen[0] = (gen[0] + 1) % 4; who[0] = NOBODY; bits = 1
       :: else -> skip
       fi
     };
     if
     :: bits != 0 ->
       set_bits(0, 1, DAEMON, false)
     :: else -> skip
     fi;
     bits = 0
#endif
  :: dead[0] && !forgotten[0] ->
     end_session(0, everywhere)
  :: dead[1] && !forgotten[1] ->
     end_session(1, everywhere)
  :: dead[2] && !forgotten[2] ->
     end_session(2, everywhere)
  :: hsummary[1] ->
     drain(1, DAEMON)
  od;
died:
  daemon_idle = false;
  /* What was private is gone; runs of its own heaps are adopted by the new ones, leases are announced again. */
  atomic { cache[1] = 0; mine[1] = 0; everywhere = true; b = 0; bits = 0; t = 0; r = 0; i = 0; x = 0; sl = 0 };
  do
  :: t < NS ->
    if
    :: !leased[t] ->
      adopt(t, NOBODY)
    :: else -> skip
    fi;
    t++
  :: else -> break
  od;
  t = 0;
#ifndef M_LEASES_SILENT
  do
  :: t < NS ->
    if
    :: leased[t] ->
      b = FIRST(t); bits = 0;
      do
      :: b < FIRST(t) + BPS -> atomic { if :: tag[b] == RETURNING -> bits = bits | BIT(b - FIRST(t)) :: else -> skip fi; b++ }
      :: else -> break
      od;
      b = 0;
      if
      :: bits != 0 || returned[t] != 0 || spending[t] ->
        set_bits(t, bits, NEVER, true)
      :: else -> skip
      fi;
      bits = 0
    :: else -> skip
    fi;
    t++
  :: else -> break
  od;
  t = 0;
  raise_summaries(NEVER);
#endif
  do
  :: atomic { daemon_idle = true; (hsummary[1] || (dead[0] && !forgotten[0]) || (dead[1] && !forgotten[1]) || (dead[2] && !forgotten[2])); daemon_idle = false }
  :: dead[0] && !forgotten[0] ->
     end_session(0, everywhere)
  :: dead[1] && !forgotten[1] ->
     end_session(1, everywhere)
  :: dead[2] && !forgotten[2] ->
     end_session(2, everywhere)
  :: hsummary[1] ->
     drain(1, DAEMON)
  od
}

/* Whenever nothing moves and no hint stands: every block is in the hands of the one heap that has its slab, or held by somebody who lives. */
proctype Judge() {
  byte b;
  atomic {
    finished == 2 && (dead[0] || (owner_idle && !hsummary[0])) && daemon_idle && !hsummary[1] &&
      (!dead[0] || forgotten[0]) && (!dead[1] || forgotten[1]) && (!dead[2] || forgotten[2]) ->
    do
    :: b < NB ->
      if
      :: tag[b] == FREE -> assert((cache[0] & BIT(b)) + (cache[1] & BIT(b)) == BIT(b))
      :: tag[b] == HELD -> assert(who[b] < 3 && !dead[who[b]] && (cache[0] & BIT(b)) == 0 && (cache[1] & BIT(b)) == 0)
      :: tag[b] == SHARED ->
        assert(who[b] != 0 && !(dead[0] && (who[b] & 1) != 0) && !(dead[1] && (who[b] & 2) != 0) && !(dead[2] && (who[b] & 4) != 0))
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
