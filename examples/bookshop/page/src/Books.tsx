import { useState } from 'react';
import { useMutation, useQuery } from 'urql';
import { Confirmation } from './Confirmation';
import { graphql } from './made';

const AllBooks = graphql(`query AllBooks { books { id title author priceCents stock } }`);
const PlaceOrder = graphql(`
  mutation PlaceOrder($book: ID!) { placeOrder(book: $book) { order { id book { id title stock } } job } }
`);

export function Books({ signedIn }: { signedIn: boolean }) {
  const [{ data }] = useQuery({ query: AllBooks });
  const [{ error, fetching }, place] = useMutation(PlaceOrder);
  const [orders, setOrders] = useState<{ id: string; title: string; job: string }[]>([]);

  async function order(book: string) {
    const placed = (await place({ book })).data?.placeOrder;
    if (placed) setOrders((before) => [{ id: placed.order.id, title: placed.order.book.title, job: placed.job }, ...before]);
  }

  return (
    <>
      <ul aria-label="Books">
        {data?.books.map(({ id, title, author, priceCents, stock }) => (
          <li key={id}>
            <cite>{title}</cite> by {author}, {(priceCents / 100).toFixed(2)}
            <button disabled={!signedIn || fetching || stock === 0} onClick={() => void order(id)}>
              {stock ? 'Order' : 'Sold out'}
            </button>
          </li>
        ))}
      </ul>
      <p role="alert">{error?.graphQLErrors[0]?.message ?? error?.message}</p>
      <ul aria-label="Your orders">
        {orders.map(({ id, title, job }) => (
          <li key={id}>
            Order {id}: <cite>{title}</cite> <Confirmation job={job} />
          </li>
        ))}
      </ul>
    </>
  );
}
