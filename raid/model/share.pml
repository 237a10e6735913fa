/*
 * share.pml - two nodes that both manage one row of a stripe: a data block and a check block.
 *
 * Locks as raid/lock_table.h has them for two nodes (the last exclusive holder arbitrates), intents
 * as raid/src/intent_log.h, views as raid/src/core_change.cpp.  A node may stop at any step; another
 * process of it starts later.  A stopped one may wake: its steps go on until it is fenced.
 *
 *   I12  assert in use()      I13  assert in hit()      I14  assert in look() and after recovery
 *   no lost grant: the monitor, when nothing more can happen
 */
#ifndef WRITES
#define WRITES 3
#endif
#ifndef READS
#define READS 1
#endif
#ifndef STOPS
#define STOPS 2
#endif
#define P(n) (1-(n))
#define BIT(n) (1<<(n))
#define HAS(h,o) mem[(h)*2+(o)]    /* what holder h has of origin o's intent; 0: nothing */

mtype = { IDLE, WANT, GO, ACK, ONE, TWO, SETTLE, READ, RUN, DEAD };
mtype = { N, S, X };
mtype = { REQ, GRANT, RECALL, REL, BEGIN, BEGUN, END, ENDED };

/* disks and label */
byte data = 0, check = 0;
byte holders = 3, owed = 0;        /* sets of nodes */
bool fenced[2];
/* persistent memory */
byte mem[4];
/* each process */
mtype ph[2] = IDLE, lock[2] = N, want[2] = N;
bool arb[2], asked[2], recalled[2], recall[2];
mtype other[2] = N;                /* as arbiter: what the partner holds */
mtype pend[2] = N;                 /* as arbiter: what the partner wants */
bool unsettled[2], alive[2] = true, act[2] = true;
byte view[2] = 3, val[2];
/* ghosts, budgets */
byte version = 0, writes = WRITES, reads = READS, stops = STOPS;

chan q[2] = [6] of { mtype, mtype, byte };
#define SAY(n,k,m,v) if :: alive[P(n)] && (view[n]&BIT(P(n))) && len(q[P(n)])<6 -> q[P(n)]!k,m,v :: else -> skip fi

#ifdef BUG_NOSETTLE
#define SETTLED(n) true
#else
#define SETTLED(n) (!unsettled[n])
#endif
#ifdef BUG_DEADLOCK
#define PAYS false
#else
#define PAYS true
#endif
#define LACKS(n) (!(lock[n]==X || (lock[n]==S && want[n]==S)))
#define FREE(n) (other[n]==N || (other[n]==S && want[n]==S))
#define BUSY(n) (ph[n]==GO || ph[n]==ACK || ph[n]==ONE || ph[n]==TWO || ph[n]==READ)

inline use(n, m) {                 /* I12 */
  assert(!(m==X && (view[n]&BIT(P(n))) && lock[P(n)]!=N));
  assert(!(m==S && (view[n]&BIT(P(n))) && lock[P(n)]==X))
}
inline look(n) { assert(data==check) }
inline hit(n) {                    /* I13 */
  assert(fenced[n] || holders==BIT(n) || HAS(P(n),n)==val[n])
}
inline forget(n) {
  ph[n]=IDLE; lock[n]=N; want[n]=N; arb[n]=0; asked[n]=0; recalled[n]=0; recall[n]=0; other[n]=N; pend[n]=N;
  unsettled[n]=0; val[n]=0
}
/* the view of both begins: locks are told again */
inline together() {
  q[0]!REL,N,9; q[0]?_,_,_;        /* queues of the earlier view are gone: */
  do :: len(q[0])>0 -> q[0]?_,_,_ :: else -> break od;
  do :: len(q[1])>0 -> q[1]?_,_,_ :: else -> break od;
  view[0]=3; view[1]=3; act[0]=1; act[1]=1;
  asked[0]=0; asked[1]=0; recalled[0]=0; recalled[1]=0; recall[0]=0; recall[1]=0; pend[0]=N; pend[1]=N;
  arb[0]=(lock[1]!=X); arb[1]=(lock[1]==X); other[0]=lock[1]; other[1]=lock[0]
}

proctype node(byte n) {
end:
  do
  /* ---- a request comes ---- */
  :: atomic { alive[n] && act[n] && ph[n]==IDLE && writes>0 -> writes--; want[n]=X; ph[n]=WANT }
  :: atomic { alive[n] && act[n] && ph[n]==IDLE && reads>0 -> reads--; want[n]=S; ph[n]=WANT }

  /* ---- its lock ---- */
  :: atomic { alive[n] && act[n] && ph[n]==WANT && !recall[n] &&
       (lock[n]==X || (lock[n]==S && want[n]==S)) ->
       if :: want[n]==S -> ph[n]=READ
          :: else -> ph[n]=GO fi }
  :: atomic { alive[n] && act[n] && ph[n]==WANT && view[n]==BIT(n) && lock[n]!=X -> lock[n]=X; arb[n]=1 }
  :: atomic { alive[n] && act[n] && ph[n]==WANT && view[n]==3 && !arb[n] && !asked[n] && !recall[n] &&
       LACKS(n) -> asked[n]=1; SAY(n,REQ,want[n],0) }
  :: atomic { alive[n] && act[n] && ph[n]==WANT && view[n]==3 && arb[n] && pend[n]==N && LACKS(n) && FREE(n) ->
       lock[n]=want[n] }
  :: atomic { alive[n] && act[n] && ph[n]==WANT && view[n]==3 && arb[n] && pend[n]==N && LACKS(n) && !FREE(n) &&
       !recalled[n] -> recalled[n]=1; SAY(n,RECALL,N,0) }

  /* ---- as arbiter: the partner's request, when nobody here uses more than is kept ---- */
  :: atomic { alive[n] && act[n] && arb[n] && pend[n]==X && !BUSY(n) && SETTLED(n) && ph[n]!=SETTLE -> pend[n]=N; lock[n]=N; arb[n]=0; recalled[n]=0; other[n]=N; SAY(n,GRANT,X,0) }
  :: atomic { alive[n] && act[n] && arb[n] && pend[n]==S && !BUSY(n) && ph[n]!=SETTLE && !unsettled[n] ->
       pend[n]=N; recalled[n]=0; other[n]=S; if :: lock[n]==X -> lock[n]=S :: else -> skip fi; SAY(n,GRANT,S,0) }
  /* ---- recalled: a shared lock that nobody uses ---- */
  :: atomic { alive[n] && act[n] && recall[n] && !BUSY(n) && ph[n]!=SETTLE && !unsettled[n] ->
       recall[n]=0; lock[n]=N; SAY(n,REL,N,0) }

  /* ---- messages ---- */
  :: atomic { alive[n] && act[n] && len(q[n])>0 ->
       if
       :: q[n]?REQ,pend[n],_
       :: q[n]?GRANT,X,_ -> lock[n]=X; arb[n]=1; other[n]=N; asked[n]=0
       :: q[n]?GRANT,S,_ -> lock[n]=S; asked[n]=0
       :: q[n]?RECALL,_,_ -> if :: lock[n]!=N -> recall[n]=1 :: else -> SAY(n,REL,N,0) fi
       :: q[n]?REL,_,_ -> other[n]=N; recalled[n]=0
       :: q[n]?BEGIN,_,HAS(n,P(n)) -> SAY(n,BEGUN,N,HAS(n,P(n)))
       :: q[n]?BEGUN,_,_ -> if :: ph[n]==ACK -> ph[n]=ONE :: else -> skip fi
       :: q[n]?END,_,_ -> HAS(n,P(n))=0; SAY(n,ENDED,N,0)
       :: q[n]?ENDED,_,_ -> if :: ph[n]==SETTLE -> unsettled[n]=0; ph[n]=IDLE :: else -> skip fi
       fi }

  /* ---- a write ---- */
  :: atomic { alive[n] && act[n] && ph[n]==GO && !unsettled[n] -> use(n,X); look(n);
       version++; val[n]=version;
#ifndef BUG_NOINTENT
       HAS(n,n)=val[n]; SAY(n,BEGIN,N,val[n]);
#endif
       if
#if defined(BUG_NOWAIT) || defined(BUG_NOINTENT)
       :: true -> ph[n]=ONE
#else
       :: view[n]==3 -> ph[n]=ACK
       :: else -> ph[n]=ONE
#endif
       fi }
  :: atomic { alive[n] && act[n] && ph[n]==ACK && view[n]==BIT(n) -> ph[n]=ONE }
  :: atomic { alive[n] && ph[n]==ONE -> if :: !fenced[n] -> use(n,X); hit(n); data=val[n] :: else -> skip fi; ph[n]=TWO }
  :: atomic { alive[n] && ph[n]==TWO -> if :: !fenced[n] -> hit(n); check=val[n] :: else -> skip fi; unsettled[n]=1; ph[n]=IDLE }
  /* ---- settled: at some time, when a row is written again, or when the lock must go ---- */
  :: atomic { alive[n] && act[n] && unsettled[n] && (ph[n]==IDLE || ph[n]==GO) ->
       HAS(n,n)=0;
       if :: view[n]==3 -> if :: ph[n]==GO -> writes++ :: else -> skip fi; ph[n]=SETTLE; SAY(n,END,N,0)
          :: else -> unsettled[n]=0 fi }
  :: atomic { alive[n] && act[n] && ph[n]==SETTLE && view[n]==BIT(n) -> unsettled[n]=0; ph[n]=IDLE }
  /* waiting for a lock does not keep one that is unsettled */
  :: atomic { alive[n] && act[n] && unsettled[n] && ph[n]==WANT ->
       HAS(n,n)=0; if :: want[n]==X -> writes++ :: else -> reads++ fi;
       if :: view[n]==3 -> ph[n]=SETTLE; SAY(n,END,N,0) :: else -> unsettled[n]=0; ph[n]=IDLE fi }
  /* ---- a read ---- */
  :: atomic { alive[n] && act[n] && ph[n]==READ -> if :: !fenced[n] -> use(n,S); look(n) :: else -> skip fi; ph[n]=IDLE }

  /* ---- it stops: for good, or until it is fenced ---- */
  :: atomic { alive[n] && act[n] && stops>0 && alive[P(n)] && act[P(n)] && view[P(n)]==3 -> stops--; act[n]=0; goto stopped }
  :: atomic { alive[n] && act[n] && stops>0 && view[n]==BIT(n) -> stops--; act[n]=0; goto stopped }
  od;

stopped:

  /* what it had under way may still reach the disks */
  if
  :: atomic { ph[n]==ONE && !fenced[n] -> hit(n); data=val[n] }
  :: skip
  fi;
  if
  :: atomic { ph[n]==ONE || ph[n]==TWO; if :: !fenced[n] && data==val[n] -> check=val[n] :: else -> skip fi }
  :: atomic { ph[n]==ONE && !fenced[n] -> check=val[n] }
  :: skip
  fi;
  alive[n]=0
}

/* The partner of a node that stopped, or the first of two: fences, labels, pays, goes on alone. */
proctype keeper(byte n) {
  byte o;
  do
  :: atomic { alive[n] && act[n] && view[n]==3 && !act[P(n)] ->
#ifndef BUG_NOFENCE
       fenced[P(n)]=1;
#endif
       act[n]=0 };               /* paused: nothing begins */
#ifndef BUG_NOFENCE
     fenced[P(n)];
#endif
#ifndef BUG_NOLABEL
     atomic { holders=BIT(n); owed=BIT(P(n)) };
#endif
     if
     :: atomic { PAYS && HAS(n,P(n))!=0 -> data=HAS(n,P(n)) };
        atomic { check=HAS(n,P(n)); HAS(n,P(n))=0 }
     :: !PAYS || HAS(n,P(n))==0 -> skip
     fi;
     atomic { assert(!PAYS || data==check || BUSY(n) || lock[n]==X);
       owed=0; view[n]=BIT(n); lock[P(n)]=N; arb[n]=1; asked[n]=0; other[n]=N; pend[n]=N; recalled[n]=0; recall[n]=0;
       do :: len(q[n])>0 -> q[n]?_,_,_ :: else -> break od;
       act[n]=1 }
  /* a node that is gone comes back, while the other works: it gets what is live, then the label */
  :: atomic { !alive[n] && act[P(n)] && alive[P(n)] && view[P(n)]==BIT(P(n)) ->
       forget(n); HAS(n,n)=0; HAS(n,P(n))=HAS(P(n),P(n)); HAS(P(n),n)=0; fenced[n]=0; holders=3; alive[n]=1;
       together();
       if :: ph[P(n)]==ACK -> ph[P(n)]=ONE :: else -> skip fi;
       if :: ph[P(n)]==SETTLE -> HAS(n,P(n))=0; unsettled[P(n)]=0; ph[P(n)]=IDLE :: else -> skip fi;
       run node(n) }
  /* both are gone: one whose memory counts begins, and pays what both had begun */
  :: atomic { !alive[0] && !alive[1] && (holders & BIT(n)) ->
       forget(n); lock[P(n)]=N; holders=BIT(n); owed=3; view[n]=BIT(n); arb[n]=1; fenced[n]=0; fenced[P(n)]=1; alive[n]=1 };
     o=0;
     do
     :: o<2 -> if :: atomic { HAS(n,o)!=0 -> data=HAS(n,o) };
                     atomic { check=HAS(n,o); HAS(n,o)=0 }
                  :: HAS(n,o)==0 -> skip fi; o++
     :: else -> break
     od;
     atomic { assert(data==check); owed=0; act[n]=1; o=0; run node(n) }
  /* nothing more: what is left of the budgets is used */
  :: atomic { timeout -> assert(alive[n] && act[n] && ph[n]==IDLE); break }
  od
}

init { atomic { arb[0]=1; run node(0); run node(1); run keeper(0); run keeper(1) } }
