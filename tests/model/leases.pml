/*
 * Leases: who may use a run, as server/core/shard and client/lib/lease_account.cc decide it, while
 * calls overtake each other, get lost and time out, and while the daemon and the client die. There
 * are RUNS runs in one arena, and one session, which leases them.
 *
 *   Thread       a thread of the client that needs runs. It calls LeaseSlabs
 *   Returner     the client's lease thread. It calls ReturnSlabs
 *   Resumer      the client's stream thread. It calls Resume, one part for each run
 *   Daemon       serves the calls in any order, may restart, and ends the session when the client
 *                has died
 *
 * A call whose caller gave up may be served at any later time. Its answer then goes nowhere. The
 * daemon may or may not notice that. A daemon that restarts drops all calls, and keeps its ledger.
 *
 * Wherever the daemon takes a run back or grants it, the client must not have it in its account.
 * Judge looks when nothing moves: the ledger then says the same as the account. A step is what one
 * critical section or one message does. tests/model/run says what is checked.
 */
#ifndef RUNS
#define RUNS 1
#endif
#ifndef LEASES
#define LEASES 2          /* calls of LeaseSlabs that bring or try to bring a run */
#endif
#ifndef RETURNS
#define RETURNS 1
#endif
#ifndef RESUMES
#define RESUMES 2         /* attempts at a resume, beside the last one that must succeed */
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 1        /* calls that their callers give up */
#endif
#ifndef MAXR
#define MAXR 0            /* restarts of the daemon */
#endif
#ifndef MAXD
#define MAXD 0            /* deaths of the client */
#endif
#ifndef SLOTS
#define SLOTS (3 + TIMEOUTS)
#endif
#define BIT(i) (1 << (i))
#define ALL (BIT(RUNS) - 1)

/* A call, on its way there or back. */
#define NONE 0
#define SENT 1            /* to the daemon; the caller waits */
#define LEFT 2            /* to the daemon; the caller gave up */
#define OK 3              /* answered */
#define STALE 4           /* refused: of another epoch */
#define FULL 5            /* refused: no run is free */
#define BROKEN 6          /* the connection broke */
byte state[SLOTS], kind[SLOTS], epoch_of[SLOTS], set[SLOTS], first[SLOTS];
#define LEASE 0
#define RETURN 1
#define RESUME 2

/* the daemon: its ledger, which survives it, and the session's epoch, which does not */
byte leased;              /* bit per run */
byte daemon_next = 1;     /* its epoch + 1; 0: the session must resume first */
bool ended;               /* the session */
byte restarts;

/* the client's account, under its mutex; its epoch and whether it resumes, under the gate's lock */
byte account;
byte epoch;
bool resuming, wants_resume, mutex;
byte timeouts;
bool dead;
byte leases_left = LEASES, returns_left = RETURNS;
bool thread_idle, returner_idle, resumer_idle;

#define lock_mutex() atomic { !mutex -> mutex = true }
#define unlock_mutex() mutex = false

inline send(k, e, runs, from) {      /* local c: the call's slot */
  atomic {
    c = 0;
    do
    :: c < SLOTS && state[c] != NONE -> c++
    :: else -> break
    od;
    assert(c < SLOTS);
    state[c] = SENT; kind[c] = k; epoch_of[c] = e; set[c] = runs; first[c] = from
  }
}

/* What came of call c: its state, or LEFT when its caller gives it up. `came` has leased runs. */
inline receive() {                   /* local c, result, came */
  atomic {
    if
    :: state[c] > LEFT ->
      result = state[c]; came = set[c]; state[c] = NONE; set[c] = 0; epoch_of[c] = 0; kind[c] = 0;
      first[c] = 0
    :: state[c] == SENT && timeouts < TIMEOUTS -> timeouts++; state[c] = LEFT; result = LEFT
    fi;
    c = 0
  }
}

inline forget(i) {
  state[i] = NONE; set[i] = 0; epoch_of[i] = 0; kind[i] = 0; first[i] = 0
}

/* DaemonLeases::lease */
proctype Thread() provided (!dead) {
  byte c, e, result, came;
  do
  :: atomic {
       thread_idle = true;
       leases_left > 0 && !resuming -> thread_idle = false; leases_left--; e = epoch
     };
     send(LEASE, e, 0, 0);
     receive();
     if
     :: result == OK ->
       lock_mutex();
#ifndef M_OLD_ANSWER
       if
       :: epoch == e -> skip
       :: else -> came = 0; wants_resume = true
       fi;
#endif
       account = account | came;
       unlock_mutex()
     :: result == FULL -> skip
#ifdef M_LOST_FORGOTTEN
     :: else -> skip
#else
     :: else -> wants_resume = true
#endif
     fi;
     atomic { e = 0; result = 0; came = 0 }
  od
}

/* DaemonLeases::give_back and LeaseAccount::drop */
proctype Returner() provided (!dead) {
  byte c, e, result, came, which;
  do
  :: atomic {
       returner_idle = true;
       returns_left > 0 && account != 0 -> returner_idle = false; returns_left--;
       if
       :: (account & 1) != 0 -> which = 1
#if RUNS > 1
       :: (account & 2) != 0 -> which = 2
#endif
       fi
     };
#ifdef M_DROP_FIRST
     lock_mutex();
     account = account & (ALL - which);
     unlock_mutex();
     if
     :: atomic { !resuming -> e = epoch; result = OK }
     :: atomic { resuming -> wants_resume = true }
     fi;
#else
     if
     :: atomic { !resuming -> e = epoch; result = OK }
     :: resuming -> skip
     fi;
     lock_mutex();
#ifndef M_DROP_LATE
     account = account & (ALL - which);
#endif
     if
#ifdef M_DROP_UNSEEN
     :: result == OK -> skip
#else
     :: result == OK && epoch == e -> skip
#endif
     :: else -> result = 0; wants_resume = true
     fi;
     unlock_mutex();
#endif
     if
     :: result == OK ->
       send(RETURN, e, which, 0);
       receive();
       if
       :: result == OK -> skip
       :: else -> wants_resume = true
       fi
     :: else -> skip
     fi;
#ifdef M_DROP_LATE
     lock_mutex();
     account = account & (ALL - which);
     unlock_mutex();
#endif
     atomic { e = 0; result = 0; came = 0; which = 0 }
  od
}

/* DaemonLeases::resume */
proctype Resumer() provided (!dead) {
  byte c, part, result, came, named, attempts;
  do
  :: atomic {
       resumer_idle = true;
       wants_resume || attempts < RESUMES -> resumer_idle = false
     };
     atomic { wants_resume = false; if :: attempts < RESUMES -> attempts++ :: else -> skip fi };
#ifdef M_ACCOUNT_EARLY
     lock_mutex(); named = account; unlock_mutex();
#endif
     atomic {
       resuming = true;
#ifndef M_EPOCH_KEPT
       epoch++
#endif
     };
     part = 0;
     do
     :: part < RUNS ->
#ifndef M_ACCOUNT_EARLY
       lock_mutex(); named = account; unlock_mutex();
#endif
       send(RESUME, epoch, named & BIT(part), part);
       receive();
       if
       :: result == OK -> part++
       :: else -> wants_resume = true; break
       fi
     :: else -> break
     od;
#ifdef M_GATE_OPENS
     resuming = false;
#else
     if
     :: part == RUNS -> resuming = false
     :: else -> skip
     fi;
#endif
     atomic { part = 0; result = 0; came = 0; named = 0 }
  od
}

/* Who has it in his account uses it: nobody may take it. */
inline take_back(runs) {
  assert(dead || (account & leased & (runs)) == 0);
  leased = leased & (ALL - (runs))
}

inline answer(i, how) {
  if
  :: state[i] == LEFT -> forget(i)
  :: else -> state[i] = how; if :: how != OK -> set[i] = 0 :: else -> skip fi
  fi
}

/* runs of a lease whose answer could not be delivered, until the daemon has taken them back */
byte lost_runs, lost_epoch;

#ifdef M_END_ADMITS
#define REFUSES_THE_ENDED false
#else
#define REFUSES_THE_ENDED true
#endif
#ifdef M_LEASE_ANY_EPOCH
#define LEASE_IS_PRESENT true
#else
#define LEASE_IS_PRESENT (epoch_of[i] + 1 == daemon_next)
#endif
#ifdef M_RETURN_ANY_EPOCH
#define RETURN_IS_PRESENT true
#else
#define RETURN_IS_PRESENT (epoch_of[i] + 1 == daemon_next)
#endif
#ifdef M_RESUME_ANY_EPOCH
#define RESUME_IS_PRESENT true
#elif defined(M_PART_ANY_EPOCH)
#define RESUME_IS_PRESENT (first[i] != 0 || (epoch_of[i] > 0 && epoch_of[i] >= daemon_next))
#else
#define RESUME_IS_PRESENT                                                       \
  (first[i] == 0 -> epoch_of[i] > 0 && epoch_of[i] >= daemon_next : epoch_of[i] + 1 == daemon_next)
#endif
#ifdef M_LOST_ANY_EPOCH
#define LOST_IS_PRESENT true
#else
#define LOST_IS_PRESENT (lost_epoch + 1 == daemon_next)
#endif

proctype Daemon() {
  byte i, which;
  do
  :: atomic {                        /* any of the calls */
       if
       :: state[0] == SENT || state[0] == LEFT -> i = 0
       :: state[1] == SENT || state[1] == LEFT -> i = 1
       :: state[2] == SENT || state[2] == LEFT -> i = 2
#if SLOTS > 3
       :: state[3] == SENT || state[3] == LEFT -> i = 3
#endif
#if SLOTS > 4
       :: state[4] == SENT || state[4] == LEFT -> i = 4
#endif
       fi;
       if
       :: REFUSES_THE_ENDED && ended -> answer(i, FULL)
       :: else ->
       if
       :: kind[i] == LEASE && !LEASE_IS_PRESENT -> answer(i, STALE)
       :: kind[i] == LEASE && LEASE_IS_PRESENT && leased == ALL -> answer(i, FULL)
       :: kind[i] == LEASE && LEASE_IS_PRESENT && leased != ALL ->
         if
         :: (leased & 1) == 0 -> which = 1
#if RUNS > 1
         :: (leased & 2) == 0 -> which = 2
#endif
         fi;
         assert(dead || (account & which) == 0);
         leased = leased | which;
         if
         :: state[i] == SENT -> set[i] = which; state[i] = OK
         :: state[i] == LEFT && lost_runs == 0 ->   /* undeliverable, and it will be noticed */
           lost_runs = which; lost_epoch = epoch_of[i]; forget(i)
         :: state[i] == LEFT -> forget(i)           /* or not */
         fi;
         which = 0
       :: kind[i] == RETURN && !RETURN_IS_PRESENT -> answer(i, STALE)
       :: kind[i] == RETURN && RETURN_IS_PRESENT -> take_back(set[i]); answer(i, OK)
       :: kind[i] == RESUME && !RESUME_IS_PRESENT -> answer(i, STALE)
       :: kind[i] == RESUME && RESUME_IS_PRESENT ->
         daemon_next = epoch_of[i] + 1;
         take_back(leased & BIT(first[i]) & (ALL - set[i]));
         answer(i, OK)
       fi;
       fi;
       i = 0
     }
  :: atomic {                        /* on_undelivered of LeaseSlabs */
       lost_runs != 0 ->
       if
       :: !ended && LOST_IS_PRESENT -> take_back(lost_runs)
       :: else -> skip
       fi;
       lost_runs = 0; lost_epoch = 0
     }
  :: atomic {                        /* its death: what was on its way is gone */
       restarts < MAXR -> restarts++;
       i = 0;
       do
       :: i < SLOTS ->
         if
         :: state[i] == SENT -> state[i] = BROKEN; set[i] = 0
         :: state[i] == LEFT -> forget(i)
         :: state[i] == OK -> if :: true -> state[i] = BROKEN; set[i] = 0 :: true -> skip fi
         :: else -> skip
         fi;
         i++
       :: else -> break
       od;
       i = 0; lost_runs = 0; lost_epoch = 0; wants_resume = true;
#ifdef M_RESTART_IS_A_START
       daemon_next = 1
#else
       daemon_next = 0
#endif
     }
  :: atomic {                        /* the session ends: all that it leased goes to a shard */
       dead && !ended -> ended = true; leased = 0
     }
  od
}

/* The client dies between any two steps. What it sent is served all the same. */
proctype Death() {
  byte i;
  atomic {
    dead = true;
    do
    :: i < SLOTS ->
      if
      :: state[i] == SENT -> state[i] = LEFT
      :: state[i] > LEFT -> forget(i)
      :: else -> skip
      fi;
      i++
    :: else -> break
    od
  }
}

proctype Judge() {
  atomic {
    ((dead && ended) || (!dead && thread_idle && returner_idle && resumer_idle && !resuming &&
      !wants_resume)) && lost_runs == 0 &&
#if SLOTS > 3
      state[3] == NONE &&
#endif
#if SLOTS > 4
      state[4] == NONE &&
#endif
      state[0] == NONE && state[1] == NONE && state[2] == NONE ->
    assert(dead || leased == account);
    assert(!dead || leased == 0)
  }
}

init {
  atomic {
    run Thread(); run Returner(); run Resumer(); run Daemon(); run Judge();
#if MAXD
    run Death()
#endif
  }
}
